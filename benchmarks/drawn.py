"""The charts of the speed page: seconds per level over density, and where a step's time goes."""

from __future__ import annotations

from statistics import median
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.legends import WIDER, legend
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart

Points = list[dict[str, Any]]
LETTERS = 18  # of a line beside a bar


def levels_chart(points: Points) -> Chart:
    """One line per side, medians over replicates with bars from the lowest to the highest."""
    sides = list(dict.fromkeys(point["side"] for point in points))
    groups: dict[tuple[str, int], Points] = {}
    for point in points:
        groups.setdefault((point["side"], point["level"]), []).append(point)
    records = []
    for (side, level), each in groups.items():
        seconds = [point["seconds"] for point in each]
        said = f"{median(seconds):.3g} s ({min(seconds):.3g} to {max(seconds):.3g}, n = {len(seconds)})"
        ends = {"low": min(seconds), "high": max(seconds), "seconds": median(seconds)}
        records.append({"side": side, "level": level, "density": each[0]["density"], **ends, "said": said})
    x = theme.density_axis(record["density"] for record in records)
    most = 1.08 * max(record["high"] for record in records)
    y = alt.Y("seconds:Q", title="seconds per level", scale=alt.Scale(domain=[0, most], nice=False))
    color = alt.Color("side:N", scale=theme.marks(sides), legend=legend(sides, room=640))
    shape = alt.Shape("side:N", scale=theme.marks(sides, theme.SHAPES), legend=None)
    tips = [
        alt.Tooltip(f"{name}:N", title=title)
        for name, title in (("side", "side"), ("level", "level"), ("said", "time"))
    ]
    base = alt.Chart().encode(x=x, color=color, tooltip=tips)
    layers = [
        base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.8).encode(y=y),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=y, shape=shape),
    ]
    n = len({point["replicate"] for point in points})
    drawn = layered(layers, records, Heading("LeNet-300-100 on Fashion-MNIST"), width=640, height=340)
    return sheet(
        [drawn],
        title="What a level costs as weights are pruned",
        subtitle=[f"Medians over {n} replicates, bars from the lowest to the highest; one thread, all sides in turn."],
    )


def where_chart(points: Points) -> Chart:
    """A bar per case, made up of the shares of a step's time."""
    cases, parts = (list(dict.fromkeys(point[name] for point in points)) for name in ("case", "part"))
    order = {part: number for number, part in enumerate(parts)}
    records = [{**point, "order": order[point["part"]], "said": f"{100 * point['share']:.1f} %"} for point in points]
    x = alt.X("share:Q", title="share of a step's time", stack="zero", axis=alt.Axis(format=".0%"))
    x.scale = alt.Scale(domain=[0, 1], nice=False)
    room = max(len(line) for case in cases for line in theme.folded(case, LETTERS))
    axis = theme.names_axis(cases, LETTERS, labelPadding=6, minExtent=round((1 + WIDER) * theme.LETTER * room))
    y = alt.Y("case:N", sort=cases, title=None, axis=axis)
    color = alt.Color("part:N", scale=theme.marks(parts), legend=legend(parts, room=640))
    tips = [alt.Tooltip(f"{name}:N", title=name) for name in ("case", "part")] + [alt.Tooltip("said:N", title="share")]
    bars = alt.Chart().mark_bar(size=30).encode(x=x, y=y, color=color, order="order:Q", tooltip=tips)
    drawn = layered([bars], records, Heading("One thread, batch 128"), width=640, height=50 * len(cases))
    return sheet(
        [drawn], title="Where a step's time goes", subtitle=["Measured by Python's profiler, itself included."]
    )


CHARTS = {"levels": levels_chart, "where": where_chart}
"""Part -> how its points are drawn."""
