"""Mask or weights: what of a ticket's gain over the target's own each of them brings, over density."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from oneticket.charts import theme
from oneticket.charts.gaps import missing_in_all
from oneticket.charts.lines import looks
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import named as named_metrics
from oneticket.stats.decomposition import EFFECTS, PARTS, Decomposition, decompositions
from oneticket.stats.summary import Row
from oneticket.stats.words import counts, percent, within, without

SHOWN = ("total", *PARTS)


def decomposition_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """Gains over density: one panel per target and source, one line per effect; None where nothing is taken apart.

    Black is the ticket minus the target's own, colours what the mask and the weights bring by themselves, and their
    interaction. Points are means, bars 95 % Student t intervals; points of one density stand side by side. Raises
    SpecError as `decompositions` does. Colours: Okabe and Ito, 2008.
    """
    panels: dict[tuple[str, str, str], list[Decomposition]] = {}
    for one in decompositions(rows):
        if any(name in one.gains for name in PARTS):
            panels.setdefault((one.setting.model, one.where, one.source.source), []).append(one)
    if not panels:
        return None
    every = [one for block in panels.values() for one in block]
    sources = theme.short(one.source.source for one in every)
    models = len({model for model, _, _ in panels}) > 1
    shown = [_records(block) for block in panels.values()]
    records = [record for each in shown for record in each]
    x = theme.density_axis([record["at"] for record in records], "at", {one.density for one in every})
    drawn = []
    for number, ((model, where, source), block) in enumerate(panels.items()):
        alike = [
            record
            for other, found in zip(panels.values(), shown, strict=True)
            for record in found
            if other[0].setting.metric == block[0].setting.metric
        ]
        place = f"{where}, ticket from {sources[source]}" if source else where
        title = Heading(f"{model}, {place}" if models else place, _lacking(block))
        drawn.append(_draw(shown[number], block[0], title, x, _scale(alike), number))
    views = [f"panel_{number}" for number in range(len(drawn))]
    numbers = [record["n"] for record in records]
    subtitle = [
        f"Points: mean paired gain in test {named_metrics(rows)}, above 0 better; {counts(numbers)}. "
        f"Bars: 95 % Student t intervals{without(numbers)}.",
        "Black: the ticket minus the target's own = mask + weights + interaction.",
        missing_in_all(missing, rows),
    ]
    params = [*theme.zooms(views), *theme.picks(["line"], views)]
    return sheet(drawn, title="Mask or weights?", subtitle=subtitle, params=params)


def _records(block: Sequence[Decomposition]) -> list[Record]:
    densities = {one.density for one in block}
    made = []
    for one in sorted(block, key=lambda one: one.level):
        for place, name in enumerate(SHOWN):
            if name not in one.gains:
                continue
            found = one.gains[name].difference
            record = {
                "at": one.density * theme.beside(densities, place, len(SHOWN)),
                "line": EFFECTS[name].label,
                "arms": EFFECTS[name].formula,
                "kept": percent(one.density),
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "gain": within(found, one.setting.metric, signed=True),
            }
            made.append(record)
    return made


def _lacking(block: Sequence[Decomposition]) -> list[str]:
    """What is not trained, and at which densities."""
    found: dict[str, list[str]] = {}
    for one in block:
        for lacking in one.lacking:
            found.setdefault(lacking, []).append(percent(one.density))
    said = [f"{lacking} at {', '.join(dict.fromkeys(densities))}" for lacking, densities in found.items()]
    return [f"Not trained: {'; '.join(said)}."] if said else []


def _scale(records: Sequence[Record]) -> alt.Scale:
    return alt.Scale(domain=list(theme.reach(records, 0.0)), nice=True, zero=False)


def _draw(
    records: list[Record], one: Decomposition, title: Heading, x: alt.X, scale: alt.Scale, number: int
) -> alt.LayerChart:
    metric = one.setting.metric
    said = f"gain in {metric.gained_in}"
    axis = theme.metric_axis(metric, said, scale["domain"], signed=True, tickCount=5)
    mean, low = (alt.Y(f"{end}:Q", title=said, scale=scale, axis=axis) for end in ("mean", "low"))
    tooltip = {"line": "effect", "arms": "arms", "kept": "weights kept", "gain": f"{said} [95 %]", "n": "n"}
    color, shape, dash = looks([EFFECTS[name].label for name in SHOWN], COLORS)
    line = theme.picked(alt.Chart(), ["line"]).encode(x=x, color=color)
    bars = line.transform_filter("isValid(datum.low)")
    layers = [
        alt.Chart().mark_rule(color=theme.GREY, aria=False).encode(y=alt.YDatum(0, scale=scale)),
        bars.mark_rule(strokeWidth=1.6, clip=True, aria=False).encode(y=low, y2="high:Q"),
        line.mark_line(strokeWidth=1.4, opacity=0.7, clip=True, aria=False).encode(y=mean, strokeDash=dash),
        theme.with_tooltip(line, tooltip, "point", filled=True, size=52, opacity=1, clip=True)
        .encode(y=mean, shape=shape)
        .properties(name=f"panel_{number}"),
    ]
    return layered(layers, records, title, width=theme.WIDTH, height=theme.HEIGHT)


COLORS = (theme.BLACK, *theme.PALETTE[:3])
"""The colours of the effects, in the order of `SHOWN`."""
