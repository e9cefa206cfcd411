"""Heat maps of paired differences: tiles with their numbers, marked where the interval excludes 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.sheet import Heading, layered
from oneticket.charts.theme import Record
from oneticket.ground.metric import Metric
from oneticket.stats.stats import Interval
from oneticket.stats.words import within

TILE, LOW, SIDE = 74, 58, 14  # pixels of a tile, and letters of a line beside it
ACROSS = 3  # targets in a panel
LOOK: dict[str, Any] = {"grid": False, "titlePadding": 10}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """What a source gave a target at one level: a score, and by how much it is better than what it is measured against.

    Without a difference the score stands there, without that either the tile is missing.
    """

    source: str
    target: str
    level: int
    kept: str
    score: Interval | None
    difference: Interval | None
    own: bool = False


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One heat map: a title, its tiles, and the names of both sides in their order."""

    title: str
    metric: Metric
    sources: Sequence[str]
    targets: Sequence[str]
    tiles: Sequence[Tile]


def heats(matrix: Matrix, *, most: float, x: str, y: str, levels: Mapping[int, str]) -> list[alt.LayerChart]:
    """Targets across, a few in each panel, sources down; the colour is the difference, from -most to most.

    Shows the level of the menu, which offers the `levels`; a matrix without one of them says which ones it has.
    """
    targets = list(matrix.targets)
    many = -(-len(targets) // ACROSS)
    ends = [round(len(targets) * part / many) for part in range(many + 1)]
    has = levels_of(matrix.tiles)
    heading = Heading(matrix.title, [f"Only at {', '.join(has.values())} of the weights"] if has != levels else [])
    return [_heat(matrix, heading, targets[start:end], most=most, x=x, y=y) for start, end in pairwise(ends)]


def _heat(matrix: Matrix, heading: Heading, targets: Sequence[str], *, most: float, x: str, y: str) -> alt.LayerChart:
    metric = matrix.metric
    records = [_record(tile, metric) for tile in matrix.tiles if tile.target in targets]
    gap = alt.Scale(paddingInner=0.05, paddingOuter=0.0)
    across = alt.X(
        "target:N",
        title=x,
        sort=list(targets),
        scale=gap,
        axis=theme.names_axis(targets, TILE // 7, across=True, **LOOK),
    )
    down = alt.Y(
        "source:N", title=y, sort=list(matrix.sources), scale=gap, axis=theme.names_axis(matrix.sources, SIDE, **LOOK)
    )
    color = alt.Color(
        "value:Q",
        title=f"better (above 0) or worse, {metric.units}",
        scale=alt.Scale(domain=[-most, 0, most], range=[theme.BELOW, theme.EVEN, theme.ABOVE], interpolate="rgb"),
        legend=alt.Legend(
            orient="top",
            labelExpr=theme.written(metric, signed=True),
            description=f"Colours from {metric.written(-most)} to {metric.written(most, signed=True)} {metric.units}",
            gradientLength=220,
            gradientThickness=10,
            tickCount=3,
        ),
    )
    tooltip = {"source": y, "target": x, "kept": "weights kept", "difference": f"difference in {metric.units} [95 %]"}
    tooltip |= {"score": f"{metric.heading} [95 %]", "n": "n"}
    shown = alt.Chart().transform_filter("datum.level === level").encode(x=across, y=down)
    compared, plain = (shown.transform_filter(f"{no}isValid(datum.value)") for no in ("", "!"))
    framed = compared.transform_filter("datum.seen")
    layers = [
        theme.with_tooltip(plain, tooltip, "rect", fill=theme.PALE, stroke="#bbbbbb", strokeDash=[3, 3]),
        theme.with_tooltip(compared, tooltip, "rect").encode(color=color),
        framed.mark_rect(fillOpacity=0, stroke=theme.INK, strokeWidth=2.5, aria=False),
        *(
            shown.mark_text(fontSize=size, dy=dy, color=theme.ON_TILE, aria=False).encode(text=f"{line}:N")
            for line, size, dy in (("first", 13, -14), ("second", 12, 2), ("third", 11, 17))
        ),
    ]
    size = {"width": TILE * len(targets), "height": LOW * len(matrix.sources)}
    return layered(layers, records, heading, **size)


def scale_of(tiles: Iterable[Tile]) -> float:
    """The largest difference either way, on which the colours of all heat maps of a figure end."""
    return max((abs(tile.difference.mean) for tile in tiles if tile.difference is not None), default=0.0) or 0.01


def levels_of(tiles: Iterable[Tile]) -> dict[int, str]:
    """The levels that tiles have, the densest first, with the density of each."""
    return dict(sorted((tile.level, tile.kept) for tile in tiles))


def _record(tile: Tile, metric: Metric) -> Record:
    value, score = tile.difference, tile.score
    record = {"source": tile.source, "target": tile.target, "level": tile.level, "kept": tile.kept}
    record |= {"difference": "—", "score": "—", "n": "—", "value": None, "seen": False}
    if score is not None:
        record |= {"score": within(score, metric), "n": str(score.n)}
    if value is not None:
        said = _lines(value, metric, signed=True)
        seen = value.low is not None and value.high is not None and (value.low > 0 or value.high < 0)
        record |= {
            "difference": within(value, metric, signed=True),
            "n": str(value.n),
            "value": value.mean,
            "seen": seen,
        }
    elif score is not None:
        said = _lines(score, metric)
        said = (said[0], said[1], f"{'own' if tile.own else 'no pair'}, {said[2]}")
    else:
        said = ("missing", "", "")
    return {**record, **dict(zip(("first", "second", "third"), said, strict=True))}


def _lines(value: Interval, metric: Metric, *, signed: bool = False) -> tuple[str, str, str]:
    half = "no interval" if value.half is None else f"± {metric.written(value.half)}"
    return metric.written(value.mean, signed=signed), half, f"n = {value.n}"
