"""The look of all charts: colours in light and dark, shapes, dashes, fonts, axes, and what a reader may change."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from oneticket.ground.metric import Metric
from oneticket.stats.words import percent

Record = dict[str, Any]
Chart = alt.ConcatChart
Panel = alt.LayerChart | alt.HConcatChart
Param = alt.TopLevelSelectionParameter | alt.VariableParameter

# Safe for colour-blind readers: Okabe and Ito's palette without its yellow, which is too light on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, GREY, FAINT, PAPER, BLACK = "#333333", "#777777", "#e6e6e6", "#ffffff", "#000000"
SHADE = "#999933"
BELOW, EVEN, ABOVE = "#E08A3C", "#fdfdfd", "#5B9BD5"
ON_TILE, PALE = "#1c1c1c", "#f4f4f4"  # the same in light and dark: words on tiles, and tiles without a colour
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
BAR = "M-1.6,-0.22L1.6,-0.22L1.6,0.22L-1.6,0.22Z"
"""The sign in a legend of what is drawn as a level line, as a path in a square from -1 to 1."""
DASHES = ((1, 0), (6, 3), (2, 2), (9, 3, 2, 3), (12, 4), (4, 2, 1, 2))
MOST = len(PALETTE)
"""Lines that a panel can distinguish: each has its own colour, shape and dash."""
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first comes with the renderer: the same bytes everywhere
NONE = "none (random)"
FEW_TICKS = 6
PERCENT = "format(100 * datum.value, '.2~r') + ' %'"
WIDTH, HEIGHT = 270, 220
"""Pixels of a panel's plot, without its axes."""
WHOLE = 330
"""Pixels of a panel with its axes: two fit side by side on paper, one on a telephone."""
LETTER, SYMBOL, HALF_LINE = 6.4, 34, 7
"""Pixels of a letter of 12 pixels, on average, of a legend's symbol with its space, and of half a line of letters."""

DARK: Mapping[str, str] = {
    PAPER: "#15191d",
    INK: "#e4e7ea",
    BLACK: "#ffffff",
    GREY: "#9aa4ad",
    FAINT: "#333b43",
    SHADE: "#b9b95e",
    **dict(zip(PALETTE, ("#4FB0E8", "#FF8A3D", "#3CCB9B", "#E39CC4", "#8FD3FF", "#F5BE4A"), strict=True)),
}
"""What colours of a chart become on a dark page."""


def dark_style(scope: str = "") -> str:
    """CSS rules that turn the colours of a drawn chart dark; `scope`: a selector of what they are for.

    >>> dark_style(".chart").splitlines()[0]
    '.chart [fill="#ffffff"] { fill: #15191d; }'
    """
    return "\n".join(
        f'{scope} [{attribute}="{light}"] {{ {attribute}: {dark}; }}'.strip()
        for light, dark in DARK.items()
        for attribute in ("fill", "stroke")
    )


def short(sources: Iterable[str]) -> dict[str, str]:
    """What sources are called where all were found with one optimizer: without it.

    >>> short(["svhn (sgd)", "cifar10 (sgd)"])
    {'svhn (sgd)': 'svhn', 'cifar10 (sgd)': 'cifar10'}
    """
    named = list(dict.fromkeys(sources))
    one = len({name.rpartition(" (")[2] for name in named}) == 1
    return {name: name.rpartition(" (")[0] or name if one else name for name in named}


def marks(names: Sequence[str], looks: Sequence[Any] = PALETTE, places: Sequence[int] | None = None) -> alt.Scale:
    """A scale that gives every name a look: by its own place or the one in `places`; after the last comes the first."""
    places = range(len(names)) if places is None else places
    return alt.Scale(domain=list(names), range=[looks[place % len(looks)] for place in places])


def density_axis(values: Iterable[float], field: str = "density", named: Iterable[float] = ()) -> alt.X:
    """From the densest on the left to the sparsest on the right, with room for half a point.

    Ticks are at the `named` densities if there are few, else at round ones and both ends. Equal labels are merged.
    """
    values, named = list(values), sorted({percent(density): density for density in named}.values())
    room = max((max(values) / min(values)) ** 0.03, 1.03)
    scale = alt.Scale(type="log", domain=[max(values) * room, min(values) / room], nice=False)
    most, least = max(named or values), min(named or values)
    round_ones = (digit / 10**power for power in range(1, 7) for digit in (5, 2, 1))
    ticks = [most, *(tick for tick in round_ones if least * 1.3 < tick < most / 1.3), least]
    axis = alt.Axis(
        values=named if 0 < len(named) <= FEW_TICKS else sorted(set(ticks)),
        labelExpr=PERCENT,
        grid=False,
        tickSize=5,
        labelOverlap="greedy",
        labelSeparation=8,
        description=f"weights kept, from {percent(most)} to {percent(least)}, logarithmic",
    )
    return alt.X(f"{field}:Q", title="weights kept (logarithmic)", scale=scale, axis=axis)


def names_axis(names: Iterable[str], letters: int, *, across: bool = False, **options: Any) -> alt.Axis:
    """An axis of names without ticks, wrapped at so many letters and centred on what they name.

    `across`: names stand below the plot, else at its left.
    """
    lines = {name: folded(name, letters) for name in names}
    lift = json.dumps({name: -HALF_LINE * (len(line) - 1) for name, line in lines.items()})
    placed = {"labelAngle": 0} if across else {"labelOffset": alt.ExprRef(f"{lift}[datum.label] || 0")}
    label = f"{json.dumps(lines)}[datum.label]"
    return alt.Axis(ticks=False, domain=False, labelExpr=label, **placed, **options)


def metric_axis(
    metric: Metric, title: str, ends: tuple[float, float], *, signed: bool = False, **options: Any
) -> alt.Axis:
    """An axis of scores, or with `signed` of differences, written and read aloud in the metric's unit.

    `ends`: the least and the largest score that it shows.
    """
    low, high = (metric.written(end, signed=signed) for end in ends)
    return alt.Axis(labelExpr=written(metric, signed=signed), description=f"{title}, from {low} to {high}", **options)


def written(metric: Metric, *, signed: bool = False) -> str:
    """An expression that writes a tick's score in the metric's unit.

    >>> from oneticket.ground.metric import METRICS
    >>> written(METRICS["accuracy"])
    "format(100 * datum.value, ',.6~r')"
    """
    number = f"format({metric.factor} * datum.value, ',.6~r')"
    return f"(datum.value > 0 ? '+' : '') + {number}" if signed else number


def reach(records: Iterable[Record], *others: float) -> tuple[float, float]:
    """The least and the largest of means, bounds, and what else shall be in sight.

    >>> reach([{"low": None, "mean": 0.5, "high": None}], 0.0)
    (0.0, 0.5)
    """
    bounds = [record[end] for record in records for end in ("low", "mean", "high") if record[end] is not None]
    return min(*others, *bounds, math.inf), max(*others, *bounds, -math.inf)


def beside(densities: Iterable[float], place: int, many: int) -> float:
    """The factor on a density that places the points of `many` lines side by side instead of on each other.

    All of them take no more than half of the way to the next density, and no more than a tenth of the axis.
    """
    known = sorted(set(densities))
    closest = min((b / a for a, b in pairwise(known) if b > a * 1.01), default=1.5)
    span = math.log(known[-1] / known[0]) if known else 0.0
    step = min(math.log(closest) / 2 / max(many, 1), (span or 1.0) * 0.016)
    return math.exp(-step * (place - (many - 1) / 2))


def said(fields: Mapping[str, str]) -> str:
    """An expression for the text that a screen reader reads for a mark: every field by its title, as in a tooltip."""
    return " + '; ' + ".join(
        f"{json.dumps(title + ': ')} + datum[{json.dumps(name)}]" for name, title in fields.items()
    )


def with_tooltip(chart: alt.Chart, fields: Mapping[str, str], mark: str, **options: Any) -> alt.Chart:
    """A mark whose tooltip and spoken label are those fields, by their titles, with the true values."""
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in fields.items()]
    drawn: alt.Chart = getattr(chart, f"mark_{mark}")(description=alt.ExprRef(said(fields)), **options)
    return drawn.encode(tooltip=tips)


def zooms(views: Iterable[str]) -> list[Param]:
    """Zoom by wheel and drag, back by a double click: one for each view, whose scales are its own."""
    interval = alt.IntervalSelectionConfig(type="interval")
    return [
        alt.TopLevelSelectionParameter(name=f"zoom_{view}", select=interval, bind="scales", views=[view])
        for view in views
    ]


def picks(fields: Iterable[str], views: Sequence[str]) -> list[Param]:
    """A click in a legend shows what it names alone, one with shift that one more, a double click all again."""
    return [
        alt.TopLevelSelectionParameter(
            name=f"picked_{field}",
            select=alt.PointSelectionConfig(type="point", fields=[field]),
            bind="legend",
            views=list(views),
        )
        for field in fields
    ]


def picked(chart: alt.Chart, fields: Iterable[str]) -> alt.Chart:
    """The chart without what `picks` hides."""
    for field in fields:
        chart = chart.transform_filter(alt.ParameterPredicate(param=f"picked_{field}"))
    return chart


def menu(levels: dict[int, str], start: int) -> Param:
    """The choice of a level by its density; a file shows the one to start with."""
    sparsest_first = sorted(levels, reverse=True)
    names = [levels[level] for level in sparsest_first]
    return alt.VariableParameter(
        name="level",
        value=start,
        bind=alt.BindRadioSelect(input="select", options=sparsest_first, labels=names, name="weights kept: "),
    )


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most so many letters.

    Lines break at spaces. A word longer than a line breaks after its hyphens, slashes, underscores and colons, and is
    cut only where a part of it is still too long.

    >>> folded("the target's own ticket", 12), folded("penbased-10", 10), folded("fashion_mnist", 10)
    (["the target's", 'own ticket'], ['penbased-', '10'], ['fashion_', 'mnist'])
    """
    lines = [""]
    for word in text.split(" "):
        parts = [word] if len(word) <= width else re.findall(r"[^-/_:]*[-/_:]|[^-/_:]+", word)
        pieces = [part[start : start + width] for part in parts for start in range(0, len(part), width)] or [""]
        for number, piece in enumerate(pieces):
            joined = lines[-1] + piece if number else f"{lines[-1]} {piece}".strip()
            if lines[-1] and len(joined) > width:
                lines.append(piece)
            else:
                lines[-1] = joined
    return lines


# One weight of one font throughout: a PDF with several lists them in an order that varies from run to run.
LOOK: dict[str, Any] = {
    "background": PAPER,
    "font": FONT,
    "padding": 16,
    "view": {"stroke": None},
    "concat": {"spacing": 32},
    "title": {
        "fontSize": 18,
        "fontWeight": "normal",
        "color": INK,
        "subtitleFontSize": 12,
        "subtitleColor": INK,
        "subtitlePadding": 6,
        "anchor": "start",
        "frame": "bounds",
        "offset": 14,
    },
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "titlePadding": 9,
        "gridColor": FAINT,
        "domainColor": GREY,
        "tickColor": GREY,
        "labelLimit": 0,
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "labelLimit": 0,
        "titleLimit": 0,
        "symbolSize": 80,
        "symbolStrokeWidth": 2,
        "columnPadding": 14,
        "rowPadding": 3,
        "offset": 8,
        "padding": 0,
    },
}
