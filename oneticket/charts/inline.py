"""Charts in a notebook: drawn in the page itself, without scripts or a network, in the page's own colours."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import altair as alt

from oneticket.charts.chart import still
from oneticket.charts.theme import FAINT, INK, Chart


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
    """The chart as HTML: an SVG whose paper is the page's, and whose words have the colour of the page's words."""
    spec = chart.to_dict()
    # Ids of its own: a notebook is one page, whatever it shows.
    svg = still(spec, f"chart-{hashlib.sha256(json.dumps(spec).encode()).hexdigest()[:8]}")
    svg = re.sub(r'<rect ([^>]*)fill="(?:white|#ffffff)"', r'<rect \1fill="none"', svg, count=1)  # the paper
    for colour, ours in _COLOURS.items():
        svg = re.sub(rf'(fill|stroke)="{colour}"', rf"\1={ours}", svg)
    width = re.search(r' width="(\d+)"', svg)
    least = min(int(width[1]) if width else SMALL, SMALL)
    styled = svg.replace("<svg", f'<svg style="max-width:100%;min-width:{least}px;height:auto;background:none"', 1)
    return f'<div class="oneticket-chart" style="overflow-x:auto">{styled}</div>'


SMALL = 560  # pixels below which a chart is not shrunk, so that its words stay legible

_COLOURS = {
    **dict.fromkeys((INK, "#000000", "#000"), '"currentColor"'),
    FAINT: r'"currentColor" \1-opacity="0.15"',
}
