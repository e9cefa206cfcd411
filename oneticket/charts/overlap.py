"""How much of one search's mask another search finds too, beside what chance would give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from oneticket.charts import theme
from oneticket.charts.theme import Chart, Record
from oneticket.stats.stats import mean_interval, paired
from oneticket.stats.summary import Row
from oneticket.stats.words import counts, percent, within

WIDTHS, HEIGHT = {True: 640, False: 430}, 280


def overlap_chart(overlaps: Sequence[Row]) -> Chart | None:
    """The share of a mask's living weights that live in another's too, over density; None for fewer than two searches.

    One panel per search, one line per search that it is compared with: every pair once. Points are means over
    replicates, bars 95 % Student t intervals; dashed is what two random masks of these densities share.
    """
    groups: dict[tuple[str, str], dict[tuple[str, int], list[Row]]] = {}
    for row in overlaps:
        groups.setdefault((row["model"], row["a"]), {}).setdefault((row["b"], row["level"]), []).append(row)
    if not groups:
        return None
    named = theme.short(row[end] for row in overlaps for end in ("a", "b"))
    models = len({model for model, _ in groups}) > 1
    shown = {search: [_record(rows, named) for rows in pairs.values()] for search, pairs in sorted(groups.items())}
    every = [record for records in shown.values() for record in records]
    x = theme.density_axis(record["density"] for record in every)
    top = math.ceil(10 * max(max(r["mean"], r["high"] or 0.0, r["chance"]) for r in every)) / 10
    width, others = WIDTHS[len(shown) == 1], sorted({record["b"] for record in every})
    color = alt.Color(
        "b:N",
        scale=theme.source_colors(sorted(set(named.values()))),
        legend=alt.Legend(
            title="compared with", orient="bottom", direction="horizontal", values=others, columns=6, symbolOpacity=1
        ),
    )
    drawn = [
        _draw(records, f"{model}, {named[a]}" if models else named[a], x, color, top, width, number)
        for number, ((model, a), records) in enumerate(shown.items())
    ]
    views = [f"panel_{number}" for number in range(len(drawn))]
    subtitle = [
        f"Points: mean share of the living weights that live in the other mask too; {counts([r['n'] for r in every])}.",
        "Bars: 95 % Student t intervals, cut at 0 and 1; one replicate has none. Dashed: what two random masks share.",
    ]
    params = [*theme.zooms(views), *theme.picks(["b"], views)]
    return theme.sheet(drawn, title="Do searches find the same weights?", subtitle=subtitle, params=params)


def _record(rows: Sequence[Row], named: dict[str, str]) -> Record:
    overlap = {row["replicate"]: row["overlap"] for row in rows}
    chance = {row["replicate"]: row["chance"] for row in rows}
    found, beyond = mean_interval(overlap.values()), paired(overlap, chance).difference
    return {
        "b": named[rows[0]["b"]],
        "density": rows[0]["density"],
        "kept": percent(rows[0]["density"]),
        "mean": found.mean,
        "low": None if found.low is None else max(0.0, found.low),
        "high": None if found.high is None else min(1.0, found.high),
        "chance": sum(chance.values()) / len(chance),
        "n": found.n,
        "overlap": within(found),
        "beyond": within(beyond),
    }


def _draw(
    records: list[Record], title: str, x: alt.X, color: alt.Color, top: float, width: int, number: int
) -> alt.LayerChart:
    axis, scale = alt.Axis(tickCount=5, labelExpr=theme.PERCENT), alt.Scale(domain=[0, top])
    mean, low, chance = (
        alt.Y(f"{end}:Q", title="shared living weights", scale=scale, axis=axis) for end in ("mean", "low", "chance")
    )
    told = {"b": "compared with", "kept": "weights kept", "overlap": "share [95 %]", "beyond": "above chance", "n": "n"}
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in told.items()]
    line = theme.picked(alt.Chart(), ["b"]).encode(x=x, color=color)
    layers = [
        alt.Chart().mark_line(strokeDash=[6, 4], color="#000000", strokeWidth=1.5, clip=True).encode(x=x, y=chance),
        line.transform_filter("isValid(datum.low)").mark_rule(opacity=0.6, clip=True).encode(y=low, y2="high:Q"),
        line.mark_line(strokeWidth=1.8, clip=True).encode(y=mean),
        line.mark_point(filled=True, size=46, opacity=1, clip=True)
        .encode(y=mean, tooltip=tips)
        .properties(name=f"panel_{number}"),
    ]
    return theme.layered(layers, records, theme.named(title, width), width=width, height=HEIGHT)
