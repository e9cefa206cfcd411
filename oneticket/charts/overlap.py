"""How much of one search's mask another search finds too, compared with chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from oneticket.charts import theme
from oneticket.charts.lines import looks
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import Metric
from oneticket.stats.stats import mean_interval, paired
from oneticket.stats.summary import Row
from oneticket.stats.words import counts, percent, within, without
from oneticket.ticket.names import natural, naturally

NAMED = 3  # pairs that are left out and named


def overlap_chart(overlaps: Sequence[Row], not_compared: Sequence[str] = ()) -> Chart | None:
    """The share of a mask's remaining weights that remain in another's too, over density; None without two searches.

    One panel per search, or several if it is compared with many; one line per compared search, each pair once. Points
    are means over replicates, bars 95 % Student t intervals; the dashed line is the share for two random masks of these
    densities. `not_compared`: a sentence for each pair that is left out; the first few are under the title.
    """
    groups: dict[tuple[str, str], dict[tuple[str, int], list[Row]]] = {}
    for row in overlaps:
        groups.setdefault((row["model"], row["a"]), {}).setdefault((row["b"], row["level"]), []).append(row)
    if not groups:
        return None
    called = theme.short(row[end] for row in overlaps for end in ("a", "b"))
    models = len({model for model, _ in groups}) > 1
    shown = {
        search: [_record(rows, called) for rows in pairs.values()]
        for search, pairs in sorted(groups.items(), key=lambda each: naturally(each[0]))
    }
    every = [record for records in shown.values() for record in records]
    x = theme.density_axis(record["density"] for record in every)
    top = math.ceil(10 * max(max(r["mean"], r["high"] or 0.0, r["chance"]) for r in every)) / 10
    drawn: list[theme.Panel] = []
    for (model, a), records in shown.items():
        title = f"{model}, {called[a]}" if models else called[a]
        names = sorted({record["line"] for record in records}, key=natural)
        for start in range(0, len(names), theme.MOST):
            here = names[start : start + theme.MOST]
            inside = [record for record in records if record["line"] in here]
            drawn.append(_draw(inside, f"{title}, compared with", here, x, top, len(drawn)))
    views = [f"panel_{number}" for number in range(len(drawn))]
    numbers = [record["n"] for record in every]
    subtitle = [
        f"Points: mean share of a mask's weights that the other mask keeps too; {counts(numbers)}.",
        f"Bars: 95 % Student t intervals, cut at 0 and 100 %{without(numbers)}. Dashed line: what two random masks "
        "share.",
        *not_compared[:NAMED],
        f"{len(not_compared) - NAMED} further pairs are left out for such reasons."
        if len(not_compared) > NAMED
        else "",
    ]
    params = [*theme.zooms(views), *theme.picks(["line"], views)]
    return sheet(drawn, title="Do searches find the same weights?", subtitle=subtitle, params=params)


def _record(rows: Sequence[Row], called: dict[str, str]) -> Record:
    overlap = {row["replicate"]: row["overlap"] for row in rows}
    chance = {row["replicate"]: row["chance"] for row in rows}
    found, beyond = mean_interval(overlap.values()), paired(overlap, chance).difference
    return {
        "line": called[rows[0]["b"]],
        "density": rows[0]["density"],
        "kept": percent(rows[0]["density"]),
        "mean": found.mean,
        "low": None if found.low is None else SHARED.clipped(found.low),
        "high": None if found.high is None else SHARED.clipped(found.high),
        "chance": sum(chance.values()) / len(chance),
        "n": found.n,
        "overlap": within(found, SHARED),
        "beyond": within(beyond, SHARED, signed=True),
    }


def _draw(records: list[Record], title: str, names: list[str], x: alt.X, top: float, number: int) -> alt.LayerChart:
    title_y, scale = SHARED.heading, alt.Scale(domain=[0, top])
    axis = theme.metric_axis(SHARED, title_y, (0.0, top), tickCount=5)
    mean, low, chance = (alt.Y(f"{end}:Q", title=title_y, scale=scale, axis=axis) for end in ("mean", "low", "chance"))
    tooltip = {"line": "compared with", "kept": "weights kept", "overlap": f"{title_y} [95 %]"}
    tooltip["beyond"] = f"{SHARED.units} above chance [95 %]"
    color, shape, dash = looks(names)
    line = theme.picked(alt.Chart(), ["line"]).encode(x=x, color=color)
    bars = line.transform_filter("isValid(datum.low)")
    layers = [
        alt.Chart()
        .mark_line(strokeDash=[6, 4], color=theme.BLACK, strokeWidth=1.5, clip=True, aria=False)
        .encode(x=x, y=chance),
        bars.mark_rule(opacity=0.6, clip=True, aria=False).encode(y=low, y2="high:Q"),
        line.mark_line(strokeWidth=1.8, clip=True, aria=False).encode(y=mean, strokeDash=dash),
        theme.with_tooltip(line, {**tooltip, "n": "n"}, "point", filled=True, size=46, opacity=1, clip=True)
        .encode(y=mean, shape=shape)
        .properties(name=f"panel_{number}"),
    ]
    return layered(layers, records, Heading(title), width=theme.WIDTH, height=theme.HEIGHT)


SHARED = Metric(name="shared remaining weights", low=0.0, high=1.0, share=True)
"""What is drawn, as a number with its unit and bounds."""
