"""Training curves: the loss of every arm over the steps, at the sparsest level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.theme import Chart, Record
from oneticket.lottery.spec import WHOLE
from oneticket.stats.regroup import parts, settled
from oneticket.stats.stats import mean_interval
from oneticket.stats.summary import Row
from oneticket.stats.words import counts, label_place, percent, within, words_of

WIDTHS, HEIGHT = {True: 640, False: 450}, 300
FLOOR = 1e-4  # of a loss on a logarithmic axis


def curves_chart(curves: Sequence[Row]) -> Chart | None:
    """Mean training loss over steps with its band: one panel per target, one line per source and arm; None without any.

    Every target is shown at its sparsest level, beside the dense network in black. Bands are 95 % Student t intervals
    over replicates. The loss is logarithmic.
    """
    split, panels = parts(settled(_once(curves))), []
    models = len({row["model"] for row in curves}) > 1
    for part, taken in split.items():
        for target in sorted({_target(row) for row in taken}):
            here = [row for row in taken if _target(row) == target]
            level = max(row["level"] for row in here)
            kept = [percent(row["density"]) for row in here if row["level"] == level and row["arm"] not in WHOLE]
            model, data, optimizer, equal = target
            place = f"{data} under {optimizer}" + (f" at equal {equal}" if equal else "")
            place += f", {kept[0]} of the weights" if kept else ""
            title = ", ".join([model] * models + [f"{part}: {place}" if len(split) > 1 else place])
            panels.append((title, _records([row for row in here if row["arm"] in WHOLE or row["level"] == level])))
    if not panels:
        return None
    every = [record for _, records in panels for record in records]
    named = theme.short(record["source"] for record in every if record["source"] != theme.NONE)
    for record in every:
        record["source"] = named.get(record["source"], theme.NONE)
    lines = [record for record in every if not record["dense"]]
    sources = sorted({record["source"] for record in lines})
    arms = sorted({record["arm"] for record in lines}, key=label_place)
    width = WIDTHS[len(panels) == 1]
    across = width * min(len(panels), 2)
    color = alt.Color(
        "source:N", scale=theme.source_colors(sources), legend=theme.legend(sources, across, "ticket found on")
    )
    dash = alt.StrokeDash(
        "arm:N", scale=theme.marks(arms, theme.DASHES), legend=theme.legend(arms, across, "arm", symbolSize=500)
    )
    drawn = [_draw(title, records, color, dash, width, number) for number, (title, records) in enumerate(panels)]
    views, numbers = [f"panel_{number}" for number in range(len(drawn))], [record["n"] for record in every]
    subtitle = [
        f"Lines: mean training loss over the steps since the last point; {counts(numbers)}. Black: the dense network.",
        "Bands: 95 % Student t intervals over replicates; cut at the edges; one replicate has none.",
    ]
    params = [*theme.zooms(views), *theme.picks(["source", "arm"], views)]
    return theme.sheet(drawn, title="Training at the sparsest level", subtitle=subtitle, params=params)


def _once(curves: Sequence[Row]) -> list[Row]:
    """The curves with their targets' settings as rows have them."""
    return [{"head": None, **row} for row in curves]


def _target(row: Row) -> tuple[str, str, str, str]:
    """Where a curve belongs: model, data, optimizer, and at what its sources are equal."""
    return row["model"], row["target_data"], row["target_optimizer"], row.get("equal") or ""


def _records(rows: Sequence[Row]) -> list[Record]:
    groups: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        source = f"{row['source_data']} ({row['source_optimizer']})" if row["source_data"] else theme.NONE
        groups.setdefault((row["arm"], source, row["step"]), {})[row["replicate"]] = row
    made = []
    for (arm, source, step), replicates in groups.items():
        found = mean_interval(row["loss"] for row in replicates.values())
        made.append(
            {
                "arm": words_of(arm).label,
                "dense": arm == "dense",
                "source": source,
                "step": step,
                "mean": max(found.mean, FLOOR),
                "low": None if found.low is None else max(found.low, found.mean / 10, FLOOR),
                "high": None if found.high is None else max(found.high, FLOOR),
                "n": found.n,
                "loss": within(found),
            }
        )
    return made


def _draw(
    title: str, records: list[Record], color: alt.Color, dash: alt.StrokeDash, width: int, number: int
) -> alt.LayerChart:
    x = alt.X("step:Q", title="training step", scale=alt.Scale(nice=False), axis=alt.Axis(grid=False))
    means = [record["mean"] for record in records]
    low_end, high_end = min(means) / 1.3, max(means) * 1.2
    scale = alt.Scale(type="log", nice=False, domain=[low_end, high_end])
    ticks = [d * 10.0**p for p in range(-4, 3) for d in (1, 2, 5) if low_end <= d * 10.0**p <= high_end]
    mean, low = (
        alt.Y(f"{end}:Q", title="training loss (logarithmic)", scale=scale, axis=alt.Axis(values=ticks, format="~g"))
        for end in ("mean", "low")
    )
    told = {"arm": "arm", "source": "source", "step": "step", "loss": "loss [95 %]", "n": "n"}
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in told.items()]
    dense = alt.Chart().transform_filter("datum.dense").encode(x=x, color=alt.value("#000000"), tooltip=tips)
    line = theme.picked(alt.Chart().transform_filter("!datum.dense"), ["source", "arm"])
    line = line.encode(x=x, color=color, tooltip=tips)
    valid = "isValid(datum.low)"
    layers = [
        line.transform_filter(valid).mark_area(opacity=0.08, clip=True).encode(y=low, y2="high:Q", detail="arm:N"),
        dense.transform_filter(valid).mark_area(opacity=0.08, clip=True).encode(y=low, y2="high:Q"),
        line.mark_line(strokeWidth=1.6, clip=True).encode(y=mean, strokeDash=dash).properties(name=f"panel_{number}"),
        dense.mark_line(strokeWidth=1.8, clip=True).encode(y=mean),
    ]
    return theme.layered(layers, records, theme.named(title, width), width=width, height=HEIGHT)
