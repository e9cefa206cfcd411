"""Charts in a notebook: drawn in the page itself, without scripts or a network, in the page's own colours."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import altair as alt

from oneticket.charts.chart import still
from oneticket.charts.sheet import APART, apart, heading_of
from oneticket.charts.theme import FAINT, INK, WHOLE, Chart


class Inline(alt.ConcatChart):
    """A chart that a notebook shows as a picture; where another renderer of Altair's is enabled, that draws it."""

    def _repr_mimebundle_(self, *args: Any, **kwds: Any) -> Any:
        if alt.renderers.active != "default":
            return super()._repr_mimebundle_(*args, **kwds)
        return {"text/html": drawn(self), "text/plain": "an Altair chart"}


def inline(chart: Chart) -> Inline:
    """The same chart, shown as `Inline` says.

    >>> one = alt.Chart(alt.InlineData(values=[{"a": 1}])).mark_point().encode(x="a:Q")
    >>> "<svg" in inline(alt.concat(one))._repr_mimebundle_()["text/html"]
    True
    """
    made: Any = chart.copy(deep=False)
    object.__setattr__(made, "__class__", Inline)  # a plain assignment would set a property of the chart
    shown: Inline = made
    return shown


def drawn(chart: Chart) -> str:
    """The chart as HTML: pictures whose paper is the page's, and whose words have the colour of the page's words.

    Panels stand beside each other where there is room for two, and below each other where there is not.
    """
    spec = chart.to_dict()
    if APART not in spec.get("usermeta", {}):
        return f'<div class="oneticket-chart" style="overflow-x:auto">{_picture(spec)}</div>'
    title, *below = _said(spec.get("title", {}))
    said = f'<div style="font-weight:600">{escape(title)}</div>' + "".join(map(_soft, below))
    panels = "".join(f'<div style="{PANEL}">{_heading(panel)}{_picture(panel)}</div>' for panel in apart(spec))
    return f'<div class="oneticket-chart">{said}<div style="{PANELS}">{panels}</div></div>'


def _picture(spec: Mapping[str, Any]) -> str:
    """An SVG that is as wide as there is room, within limits: its words stay legible."""
    # Ids of its own: a notebook is one page, whatever it shows.
    svg = still(spec, f"chart-{hashlib.sha256(json.dumps(spec).encode()).hexdigest()[:8]}")
    svg = re.sub(r'<rect ([^>]*)fill="(?:white|#ffffff)"', r'<rect \1fill="none"', svg, count=1)  # the paper
    for colour, ours in _COLOURS.items():
        svg = re.sub(rf'(fill|stroke)="{colour}"', rf"\1={ours}", svg)
    width = re.search(r' width="(\d+)', svg)
    size = int(width[1]) if width else WHOLE
    grows = f"width:100%;max-width:{MOST}px" if "autosize" in spec else "max-width:100%"
    style = f"{grows};min-width:{min(size, SMALL)}px;height:auto;background:none"
    return svg.replace("<svg", f'<svg style="{style}"', 1)


def _said(title: Mapping[str, Any]) -> list[str]:
    """The title of a sheet, and what stands below it, which is folded to the sheet's width there."""
    below = title.get("subtitle", [])
    return [title.get("text", ""), below if isinstance(below, str) else " ".join(below)]


def _heading(panel: Mapping[str, Any]) -> str:
    heading = heading_of(panel)
    return "".join([f"<div>{escape(heading.title)}</div>", *map(_soft, heading.below)]) if heading.title else ""


def _soft(line: str) -> str:
    return f'<div style="opacity:0.75;font-size:0.9em">{escape(line)}</div>' if line else ""


SMALL, MOST = 320, 480  # pixels between which a panel is drawn, so that its words stay legible
PANELS = "display:flex;flex-wrap:wrap;gap:1em 1.5em;margin-top:0.5em"
COLUMN = "display:flex;flex-direction:column;justify-content:space-between"  # plots of a row end at one height
PANEL = f"flex:1 1 {SMALL}px;min-width:0;max-width:{MOST}px;{COLUMN}"

_COLOURS = {
    **dict.fromkeys((INK, "#000000", "#000"), '"currentColor"'),
    FAINT: r'"currentColor" \1-opacity="0.15"',
}
