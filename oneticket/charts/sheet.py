"""Panels: on one sheet, as a file has them, or apart, so that a page can lay them out by its own width."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from oneticket.charts.legends import legend_height
from oneticket.charts.theme import INK, LETTER, LOOK, WHOLE, WIDTH, Chart, Panel, Param, Record, folded

APART = "panels apart"
"""Marks a chart whose panels have their own scales and legends, and may so be laid out in another way: how many of them
come first, and are shown unasked."""
TITLE: dict[str, Any] = {"fontSize": 14, "color": INK, "subtitleFontSize": 12, "offset": 8, "frame": "bounds"}


@dataclass(frozen=True)
class Heading:
    """What stands above a panel: its title, and what is said below that."""

    title: str
    below: Sequence[str] = ()

    def drawn(self) -> alt.Title:
        """Both in lines that fit above a plot of the usual width."""
        title = alt.Title(folded(self.title, round(0.8 * WHOLE / LETTER)), **TITLE)
        if said := [piece for line in self.below if line for piece in folded(line, round(WHOLE / LETTER) - 2)]:
            title.subtitle = said
        return title


def sheet(
    panels: Sequence[Panel],
    *,
    title: str,
    subtitle: Iterable[str],
    params: Sequence[Param] = (),
    first: int | None = None,
    across: int = 0,
) -> Chart:
    """The panels in rows under one title; one alone is twice as wide. Headings in a row begin at one height.

    Empty lines of the subtitle are left out. `across`: how many stand in a row, by default two, or three of many.

    `first`: how many panels a page shows unasked, where not all; the others are details.
    `params`: what a reader may change. They stand here, with the views that they act in, since Altair numbers and
    merges those of panels as it goes.
    """
    across = min(len(panels), across or (2 if len(panels) <= 4 else 3))
    alone = len(panels) == 1 and panels[0].width == WIDTH
    if alone:  # a plot by itself takes the room of two
        panels[0].width = WIDTH + WHOLE
    for start in range(0, len(panels), across):
        _align(panels[start : start + across])
    room = (2 if alone else across) * WHOLE
    said = [piece for line in subtitle if line for piece in folded(line, round(room / LETTER))]
    chart = alt.concat(*panels, columns=across, spacing=36, title=alt.Title(title, subtitle=said))
    own: Literal["independent"] = "independent"
    chart.resolve = alt.Resolve(scale=alt.ScaleResolveMap(color=own, shape=own, strokeDash=own))
    chart.config = alt.Config(**LOOK)
    chart.usermeta = {APART: len(panels) if first is None else first}
    if params:
        chart.params = list(params)
    return chart


def _align(row: Sequence[Panel]) -> None:
    """Make headings of a row begin at one height: plots are aligned, and what is between has many heights."""
    heights = [_above(panel) for panel in row]
    for panel, height in zip(row, heights, strict=True):
        if isinstance(panel.title, alt.Title):
            panel.title.offset = TITLE["offset"] + max(heights) - height


def _above(panel: Panel) -> int:
    """Pixels of a panel's title and legend."""
    lines = (panel.title[part] for part in ("text", "subtitle")) if isinstance(panel.title, alt.Title) else ()
    title, below = (0 if said is alt.Undefined else len(said) for said in lines) if lines else (0, 0)
    colors = (getattr(layer.encoding, "color", None) for layer in getattr(panel, "layer", ()))
    legends = (color["legend"] for color in colors if isinstance(color, alt.Color))
    legend = next((legend for legend in legends if isinstance(legend, alt.Legend)), None)
    height = 0 if legend is None or legend["columns"] is alt.Undefined else legend_height(legend) + 8
    return 16 * title + 14 * below + 6 * bool(below) + height


def layered(layers: Sequence[alt.Chart], records: Sequence[Record], heading: Heading, **size: Any) -> alt.LayerChart:
    """Layers over one set of records, spoken of by their heading."""
    chart = alt.LayerChart(layer=list(layers), data=alt.InlineData(values=list(records)), title=heading.drawn(), **size)
    chart.description = "\n".join([heading.title, *heading.below])
    return chart


def apart(chart: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels of a chart, each a complete Vega-Lite chart of a given width.

    A chart that `sheet` did not make is one panel. The page offers controls that act on all panels, and sets headings,
    which `heading_of` gives.
    """
    if APART not in chart.get("usermeta", {}):
        return [dict(chart)]
    shared = {name: chart[name] for name in ("$schema", "config") if name in chart}
    data = {name: chart[name] for name in ("data",) if name in chart}  # Altair moves to the top what all panels share
    fit = {"type": "fit-x", "contains": "padding"}
    return [
        {
            **shared,
            "config": {**LOOK, "background": None, "padding": {"left": 2, "right": 10, "top": 2, "bottom": 2}},
            **copy.deepcopy({name: part for name, part in panel.items() if name != "title"}),
            "datasets": {name: values for name, values in chart["datasets"].items() if name in _used(panel)},
            "params": [_plain(param) for param in chart.get("params", ()) if _acts(param, panel)],
            "width": WHOLE,
            "autosize": fit,
        }
        for panel in ({**data, **panel} for panel in chart["concat"])
    ]


def heading_of(panel: Mapping[str, Any]) -> Heading:
    """The heading of a panel that `apart` took out of a sheet, for the page to set; empty for another chart."""
    title, *below = panel.get("description", "").split("\n") if "autosize" in panel else [""]
    return Heading(title, tuple(filter(None, below)))


def first(chart: Mapping[str, Any]) -> int:
    """How many of its panels are shown unasked."""
    return int(chart.get("usermeta", {}).get(APART, 1))


def _used(panel: Mapping[str, Any]) -> set[str]:
    """The names of the data of a panel and its layers."""
    layers = panel.get("layer", ())
    return {part["data"]["name"] for part in (panel, *layers) if "name" in part.get("data", {})}


def _acts(param: Mapping[str, Any], panel: Mapping[str, Any]) -> bool:
    """Whether what a reader may change acts in the panel."""
    views = param.get("views")
    return views is None or any(layer.get("name") in views for layer in panel.get("layer", ()))


def _plain(param: Mapping[str, Any]) -> dict[str, Any]:
    """What acts in all panels, without the widget that each of them would have."""
    return dict(param) if "select" in param else {name: param[name] for name in ("name", "value")}
