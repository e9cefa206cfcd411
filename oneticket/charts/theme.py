"""The look of all charts: colours, shapes, fonts, axes, and the sheet on which panels stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from oneticket.stats.words import percent

Record = dict[str, Any]
Chart = alt.ConcatChart
Panel = alt.LayerChart | alt.HConcatChart
Param = alt.TopLevelSelectionParameter | alt.VariableParameter

# Told apart by colour-blind readers: Okabe and Ito's palette, its yellow (too light on white) replaced by six of Tol's.
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    *("#882255", "#999933", "#332288", "#117733", "#661100", "#6699CC"),
)
INK, GREY, PALE, FAINT = "#333333", "#777777", "#f4f4f4", "#e6e6e6"
BELOW, EVEN, ABOVE = "#E08A3C", "#ffffff", "#5B9BD5"
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ((1, 0), (6, 3), (2, 2), (9, 3, 2, 3), (12, 4))
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first comes with the renderer: the same bytes everywhere
NONE = "none (random)"
FEW_TICKS = 6
PERCENT = "format(100 * datum.value, '.2~r') + ' %'"


def sheet(
    panels: Sequence[Panel],
    *,
    title: str,
    subtitle: Iterable[str],
    across: int = 2,
    params: Sequence[Param] = (),
) -> Chart:
    """The panels in lines of `across`, under one title; lines of the subtitle that say nothing are left out.

    `params`: what a reader may change. They stand here, with the views that they act in, since Altair numbers and
    merges those of panels as it goes.
    """
    said = [piece for line in subtitle if line for piece in folded(line, 100 if min(across, len(panels)) == 1 else 140)]
    chart = alt.concat(*panels, columns=across, spacing=36, title=alt.Title(title, subtitle=said))
    chart.config = alt.Config(**LOOK)
    if params:
        chart.params = list(params)
    return chart


def layered(layers: Sequence[alt.Chart], records: Sequence[Record], title: alt.Title, **size: Any) -> alt.LayerChart:
    """Layers over one set of records."""
    return alt.LayerChart(layer=list(layers), data=alt.InlineData(values=list(records)), title=title, **size)


def named(text: str, width: int, subtitle: Iterable[str] = ()) -> alt.Title:
    """The title of a panel of that width."""
    below = [piece for line in subtitle for piece in folded(line, width // 6)]
    title = alt.Title(folded(text, width // 8), fontSize=15, color=INK, subtitleFontSize=12, offset=8)
    if below:
        title.subtitle = below
    return title


def short(sources: Iterable[str]) -> dict[str, str]:
    """What sources are called where all were found with one optimizer: without it.

    >>> short(["svhn (sgd)", "cifar10 (sgd)"])
    {'svhn (sgd)': 'svhn', 'cifar10 (sgd)': 'cifar10'}
    """
    named = list(dict.fromkeys(sources))
    one = len({name.rpartition(" (")[2] for name in named}) == 1
    return {name: name.rpartition(" (")[0] or name if one else name for name in named}


def marks(names: Sequence[str], looks: Sequence[Any] = PALETTE) -> alt.Scale:
    """A scale that gives every name a look, beginning anew where the looks end."""
    return alt.Scale(domain=list(names), range=[looks[n % len(looks)] for n in range(len(names))])


def source_colors(sources: Sequence[str]) -> alt.Scale:
    """One colour for each source, and grey for what belongs to none."""
    known = [source for source in sources if source != NONE]
    colors = [PALETTE[n % len(PALETTE)] for n in range(len(known))]
    none = [NONE] if NONE in sources else []
    return alt.Scale(domain=known + none, range=colors + [GREY] * len(none))


def legend(names: Sequence[str], width: int, title: str | None = None, **options: Any) -> alt.Legend:
    """A legend below all panels, in as many columns as fit: 7 pixels a letter and 50 for a symbol and its space."""
    columns = 1
    for tried in range(len(names), 1, -1):
        widest = [max(len(name) for name in names[column::tried]) for column in range(tried)]
        if sum(50 + 7 * letters for letters in widest) <= width:
            columns = tried
            break
    return alt.Legend(title=title, orient="bottom", direction="horizontal", columns=columns, symbolOpacity=1, **options)


def density_axis(values: Iterable[float], field: str = "density", named: Iterable[float] = ()) -> alt.X:
    """From the densest on the left to the sparsest on the right, with room for half a point.

    A few `named` densities stand on the axis alone, else round ones and both ends. Those that read alike are one.
    """
    values, named = list(values), sorted({percent(density): density for density in named}.values())
    most, least = max(values), min(values)
    room = max((most / least) ** 0.03, 1.03)
    scale = alt.Scale(type="log", domain=[most * room, least / room], nice=False)
    round_ones = (digit / 10**power for power in range(1, 7) for digit in (5, 2, 1))
    ticks = [most, *(tick for tick in round_ones if least * 1.3 < tick < most / 1.3), least]
    axis = alt.Axis(
        values=named if 0 < len(named) <= FEW_TICKS else sorted(set(ticks)),
        labelExpr=PERCENT,
        grid=False,
        tickSize=5,
        labelOverlap="greedy",
    )
    return alt.X(f"{field}:Q", title="weights kept (logarithmic)", scale=scale, axis=axis)


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
    """The text in lines of at most so many letters, broken at spaces where there are any."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


# One weight of one font throughout: a PDF with several lists them in an order that varies from run to run.
LOOK: dict[str, Any] = {
    "background": "white",
    "font": FONT,
    "padding": 16,
    "view": {"stroke": None},
    "concat": {"spacing": 32},
    "title": {
        "fontSize": 20,
        "fontWeight": "normal",
        "subtitleFontSize": 13,
        "subtitleColor": INK,
        "subtitlePadding": 6,
        "anchor": "start",
        "frame": "group",
        "offset": 14,
    },
    "axis": {
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": FAINT,
        "labelLimit": 260,
    },
    "legend": {
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "labelLimit": 0,
        "symbolSize": 90,
        "symbolStrokeWidth": 2,
        "columnPadding": 24,
        "rowPadding": 6,
        "offset": 16,
        "padding": 6,
    },
}
