"""The density of every layer over the levels of a search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.stats.stats import mean_interval
from oneticket.stats.summary import Row
from oneticket.stats.words import counts, percent
from oneticket.ticket.names import naturally

WIDTH, ROW, TEXT = 190, 18, 5
MANY = 36  # layers in a panel
LETTERS = 20  # of a layer's name; its end is unique


def layers_chart(rows: Sequence[Row]) -> Chart | None:
    """Layers from the input down, densities across; the colour is the share of a layer's weights that remain.

    Means over replicates, one panel per search; None where there are no searches. Empty layers are marked.
    """
    if not rows:
        return None
    groups: dict[tuple[str, str], dict[tuple[int, str, int], list[Row]]] = {}
    for row in rows:
        search = (row["model"], f"{row['source_data']} ({row['source_optimizer']})")
        groups.setdefault(search, {}).setdefault((row["level"], row["layer"], row["position"]), []).append(row)
    named, models = theme.short(source for _, source in groups), len({model for model, _ in groups}) > 1
    shown = {
        search: [_record(tile) for tile in tiles.values()]
        for search, tiles in sorted(groups.items(), key=lambda each: naturally(each[0]))
    }
    every = [record for records in shown.values() for record in records]
    least = min((record["mean"] for record in every if record["mean"] > 0), default=0.01)
    for record in every:
        record["dark"] = record["mean"] < least**0.5
    color = alt.Color(
        "mean:Q",
        title="remaining share of the layer",
        scale=alt.Scale(type="log", domain=[least, 1], scheme="cividis", clamp=True),
        legend=alt.Legend(
            orient="top",
            gradientLength=220,
            gradientThickness=10,
            labelExpr=theme.PERCENT,
            values=[value for value in (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001) if value >= least],
            labelOverlap="greedy",
        ),
    )
    drawn: list[theme.Panel] = []
    for (model, source), records in shown.items():
        title = f"{model}, {named[source]}" if models else named[source]
        layers = list(dict.fromkeys(each["layer"] for each in sorted(records, key=lambda each: each["position"])))
        for start in range(0, len(layers), MANY):
            here = layers[start : start + MANY]
            more = f", layers {start + 1} to {start + len(here)}" if len(layers) > MANY else ""
            drawn.append(_draw([each for each in records if each["layer"] in here], here, color, title + more))
    widest = max((record["half"] for record in every if record["half"] is not None), default=None)
    spread = (
        "One replicate has no interval."
        if widest is None
        else f"Half of the widest 95 % Student t interval: {100 * widest:.2g} percentage points."
    )
    subtitle = [
        f"Colour: mean share of a layer's weights that remain; {counts([record['n'] for record in every])}.",
        spread,
        "Layers from the input down; a crossed tile is a layer that is empty in a replicate or more.",
    ]
    return sheet(drawn, title="Where the weights remain", subtitle=subtitle)


def _record(rows: Sequence[Row]) -> Record:
    first, shares = rows[0], [row["living"] / row["total"] for row in rows]
    found = mean_interval(shares)
    bounds = (
        "" if found.low is None or found.high is None else f" [{percent(max(found.low, 0))}, {percent(found.high)}]"
    )
    return {
        "layer": first["layer"].removesuffix(".weight"),
        "position": first["position"],
        "level": first["level"],
        "kept": percent(first["density"]),
        "mean": found.mean,
        "half": found.half,
        "n": found.n,
        "said": percent(found.mean),
        "share": percent(found.mean) + bounds,
        "living": f"{sum(row['living'] for row in rows) / len(rows):,.0f} of {first['total']:,}",
        "empty": any(row["living"] == 0 for row in rows),
    }


def _draw(records: list[Record], layers: list[str], color: alt.Color, title: str) -> alt.LayerChart:
    kept = list(dict.fromkeys(record["kept"] for record in sorted(records, key=lambda record: record["level"])))
    overlap: dict[str, Any] = {"labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 6}
    x = alt.X("kept:O", sort=kept, title="weights kept in all", axis=alt.Axis(**overlap))
    ends = json.dumps({layer: layer if len(layer) <= LETTERS else "…" + layer[1 - LETTERS :] for layer in layers})
    y = alt.Y("layer:N", sort=layers, title=None, axis=alt.Axis(labelExpr=f"{ends}[datum.label]"))
    tooltip = {"layer": "layer", "kept": "weights kept in all", "share": "of the layer [95 %]", "n": "n"}
    tooltip |= {"living": "remaining weights, mean"}
    tile = alt.Chart().encode(x=x, y=y)
    crossed = tile.transform_filter("datum.empty")
    drawn = [
        theme.with_tooltip(tile, tooltip, "rect", stroke=theme.PAPER).encode(color=color),
        crossed.mark_point(shape="cross", angle=45, size=50, filled=True, color=theme.PALETTE[1], aria=False),
    ]
    if len(kept) <= TEXT:
        light = alt.condition("datum.dark", alt.value("white"), alt.value(theme.ON_TILE))
        text = tile.transform_filter("!datum.empty").mark_text(fontSize=11, aria=False)
        drawn.append(text.encode(text="said:N", color=light))
    return layered(drawn, records, Heading(title), width=WIDTH, height=ROW * len(layers))
