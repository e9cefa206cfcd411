"""Training curves: the loss of every arm over the steps, at the sparsest level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.legends import legend
from oneticket.charts.lines import Group, groups
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.lottery.arms import WHOLE
from oneticket.stats.regroup import parts, settled
from oneticket.stats.stats import mean_interval
from oneticket.stats.summary import Line, Row
from oneticket.stats.words import counts, percent, within, without
from oneticket.ticket.names import naturally

FLOOR = 1e-4  # of a loss on a logarithmic axis


def curves_chart(curves: Sequence[Row]) -> Chart | None:
    """Mean training loss over steps with its band: one panel per target, or several for many lines; None without any.

    Every target is shown at its sparsest level, with the dense network in black. Each line of a panel has its own
    colour and dash. Bands are 95 % Student t intervals over replicates. The loss axis is logarithmic.
    """
    split = parts(settled(_once(curves)))
    blocks: list[tuple[str, Group, list[Record]]] = []
    models = len({row["model"] for row in curves}) > 1
    for part, taken in split.items():
        for target in sorted({_target(row) for row in taken}, key=naturally):
            here = [row for row in taken if _target(row) == target]
            level = max(row["level"] for row in here)
            kept = [percent(row["density"]) for row in here if row["level"] == level and row["arm"] not in WHOLE]
            model, data, optimizer, equal = target
            place = f"{data} under {optimizer}" + (f" at equal {equal}" if equal else "")
            place += f", {kept[0]} of the weights" if kept else ""
            title = ", ".join([model] * models + [f"{part}: {place}" if len(split) > 1 else place])
            here = [row for row in here if row["arm"] in WHOLE or row["level"] == level]
            lines = [_line(row) for row in here if row["arm"] != "dense"]
            for group in groups(lines, Line(arm="own", data=data, optimizer=optimizer)):
                blocks.append((f"{title}, {group.title}" if group.title else title, group, _records(here, group)))
    if not blocks:
        return None
    blocks.sort(key=lambda block: block[1].detail)
    drawn = [_draw(title, records, group, number) for number, (title, group, records) in enumerate(blocks)]
    numbers = [record["n"] for *_, records in blocks for record in records]
    views = [f"panel_{number}" for number in range(len(drawn))]
    subtitle = [
        f"Lines: mean training loss over the steps since the last point; {counts(numbers)}. Black: the dense network.",
        f"Bands: 95 % Student t intervals over replicates; cut at the edges{without(numbers)}.",
    ]
    first = sum(not group.detail for _, group, _ in blocks)
    params = [*theme.zooms(views), *theme.picks(["line"], views)]
    return sheet(drawn, title="Training at the sparsest level", subtitle=subtitle, params=params, first=first)


def _line(row: Row) -> Line:
    return Line(arm=row["arm"], data=row["source_data"], optimizer=row["source_optimizer"])


def _once(curves: Sequence[Row]) -> list[Row]:
    """The curves with their targets' settings as rows have them."""
    return [{"head": None, **row} for row in curves]


def _target(row: Row) -> tuple[str, str, str, str]:
    """Where a curve belongs: model, data, optimizer, and at what its sources are equal."""
    return row["model"], row["target_data"], row["target_optimizer"], row.get("equal") or ""


def _records(rows: Sequence[Row], group: Group) -> list[Record]:
    """The points of the lines of a group, and of the dense network."""
    points: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        line = "dense" if row["arm"] == "dense" else group.called.get(_line(row))
        if line is not None:
            points.setdefault((line, row["step"]), {})[row["replicate"]] = row
    made = []
    for (line, step), replicates in points.items():
        found = mean_interval(row["loss"] for row in replicates.values())
        made.append(
            {
                "line": line,
                "dense": line == "dense",
                "step": step,
                "mean": max(found.mean, FLOOR),
                "low": None if found.low is None else max(found.low, found.mean / 10, FLOOR),
                "high": None if found.high is None else max(found.high, FLOOR),
                "n": found.n,
                "loss": within(found),
            }
        )
    ends = {line: _ends([record for record in made if record["line"] == line]) for line, _ in points}
    return [record | ends[record["line"]] for record in made]


def _ends(line: Sequence[Record]) -> Record:
    """Summary of a line: the steps it covers, and its last value."""
    first, last = (choose(line, key=lambda record: record["step"]) for choose in (min, max))
    return {"steps": f"{first['step']:,} to {last['step']:,}", "first": first["loss"], "last": last["loss"]}


def _draw(title: str, records: list[Record], group: Group, number: int) -> alt.LayerChart:
    x = alt.X("step:Q", title="training step", scale=alt.Scale(nice=False), axis=alt.Axis(grid=False, tickCount=5))
    means = [record["mean"] for record in records]
    low_end, high_end = min(means) / 1.3, max(means) * 1.2
    scale = alt.Scale(type="log", nice=False, domain=[low_end, high_end])
    ticks = [d * 10.0**p for p in range(-4, 3) for d in (1, 2, 5) if low_end <= d * 10.0**p <= high_end]
    mean, low = (
        alt.Y(f"{end}:Q", title="training loss (logarithmic)", scale=scale, axis=alt.Axis(values=ticks, format="~g"))
        for end in ("mean", "low")
    )
    tooltip = {"line": "arm", "steps": "steps", "first": "loss at first [95 %]", "last": "at last [95 %]", "n": "n"}
    names = list(group.called.values())
    shown = legend(names, symbolType="stroke", symbolSize=300)
    color = alt.Color("line:N", scale=theme.marks(names, places=group.places), legend=shown)
    dash = alt.StrokeDash("line:N", scale=theme.marks(names, theme.DASHES, group.places), legend=shown)
    dense = alt.Chart().transform_filter("datum.dense").encode(x=x, color=alt.value(theme.BLACK))
    line = theme.picked(alt.Chart().transform_filter("!datum.dense"), ["line"]).encode(x=x, color=color)
    valid = "isValid(datum.low)"
    layers = [
        line.transform_filter(valid).mark_area(opacity=0.08, clip=True, aria=False).encode(y=low, y2="high:Q"),
        dense.transform_filter(valid).mark_area(opacity=0.08, clip=True, aria=False).encode(y=low, y2="high:Q"),
        theme.with_tooltip(line, tooltip, "line", strokeWidth=1.6, clip=True)
        .encode(y=mean, strokeDash=dash)
        .properties(name=f"panel_{number}"),
        theme.with_tooltip(dense, tooltip, "line", strokeWidth=1.8, clip=True).encode(y=mean),
    ]
    return layered(layers, records, Heading(title), width=theme.WIDTH, height=theme.HEIGHT)
