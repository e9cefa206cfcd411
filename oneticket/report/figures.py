"""Figures in the page: panels in a grid, first as still pictures, then as interactive charts drawn by its script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from oneticket.charts.picture import Panel, Picture
from oneticket.charts.sheet import Heading
from oneticket.charts.theme import dark_style


def figure(picture: Picture, *, heading: bool = True) -> str:
    """A figure as HTML: its notes, its first panels, the others folded, its caption and links to its files."""
    name, title = picture.name, escape(picture.title)
    shown, others = picture.panels[: picture.first], picture.panels[picture.first :]
    files = ", ".join(f'<a href="figures/{file}">{Path(file).suffix[1:].upper()}</a>' for file in picture.files)
    charts = _json([panel.chart for panel in picture.panels])
    more = f"{len(others)} more panel{'s' * (len(others) > 1)}: {title}"
    return "\n".join(
        part
        for part in (
            f'<figure id="figure-{name}" aria-labelledby="figure-{name}-title">',
            f'<h3 id="figure-{name}-title"{"" if heading else " hidden"}>{title}</h3>',
            f'<p class="soft">{escape(picture.notes)}</p>' if picture.notes else "",
            _menu(picture),
            _panels(name, shown, 0),
            f'<details class="more"><summary>{more}</summary>\n{_panels(name, others, len(shown))}\n</details>'
            if others
            else "",
            f'<figcaption>{escape(picture.caption)} <span class="files">{files}</span></figcaption>',
            f'<script type="application/json" id="charts-{name}">{charts}</script>',
            "</figure>",
        )
        if part
    )


def style() -> str:
    """The CSS of figures, with the colours of charts on a dark page."""
    dark = dark_style(".panel")
    return Path(__file__).with_name("figures.css").read_text("utf-8") + (
        f"@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    )


def _panels(name: str, panels: Sequence[Panel], first: int) -> str:
    inside = "\n".join(
        f'<div class="panel{"" if "autosize" in panel.chart else " own"}">{_heading(panel.heading)}'
        f'<div class="still">{panel.still}</div>'
        f'<div class="chart" data-charts="charts-{name}" data-panel="{first + number}"></div></div>'
        for number, panel in enumerate(panels)
    )
    even = len({panel.chart.get("height") for panel in panels}) == 1
    return f'<div class="panels{" even" * even}">\n{inside}\n</div>'


def _heading(heading: Heading) -> str:
    """The heading of a figure; empty if the chart has its own."""
    below = "".join(f"<span>{escape(line)}</span>" for line in heading.below)
    return f'<p class="heading">{escape(heading.title)}{below}</p>' if heading.title else ""


def _menu(picture: Picture) -> str:
    """The menu that chooses a level for all panels of a figure."""
    if picture.menu is None:
        return ""
    menu, bind = picture.menu, picture.menu["bind"]
    options = "".join(
        f'<option value="{option}"{" selected" if option == menu["value"] else ""}>{escape(label)}</option>'
        for option, label in zip(bind["options"], bind["labels"], strict=True)
    )
    select = f'<select data-signal="{menu["name"]}">{options}</select>'
    return f'<p class="menu"><label>{escape(bind["name"])}{select}</label></p>'


def _json(value: object) -> str:
    """JSON for a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
