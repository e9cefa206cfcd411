"""Charts as files, SVG, PNG and PDF, and as stills in a page: they come out the same to the byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from oneticket.charts.theme import Chart, dark_style
from oneticket.ground import disk
from oneticket.ground.errors import SpecError, StoreError


def write(chart: Chart, folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Write the chart as `name`.svg, `name`.png (twice the size in pixels) and `name`.pdf, and return their paths.

    The SVG turns dark where the reader's other pages are; PNG and PDF are on white. Each file is there whole or not at
    all, and the same chart leaves the same bytes. Nothing is fetched from anywhere.
    Raises SpecError for a name that is a path, StoreError if the disk refuses.
    """
    if not name or Path(name).name != name:
        raise SpecError(f"name: expected the name of a file without folders, such as 'scores', got {name!r}")
    svg, png, pdf = (Path(folder) / f"{name}.{kind}" for kind in ("svg", "png", "pdf"))
    drawn = still(chart.to_dict(), name)
    try:
        raster, page = vl_convert.svg_to_png(drawn, scale=2), _sorted(vl_convert.svg_to_pdf(drawn))
    except (RuntimeError, ValueError) as error:
        raise StoreError(f"the figure {name} cannot be drawn: {error}") from None
    try:
        disk.replace(svg, turning_dark(drawn).encode("utf-8"))
        disk.replace(png, raster)
        disk.replace(pdf, page)
    except OSError as error:
        raise StoreError(f"cannot write charts to {folder}: {error.strerror}") from error
    return svg, png, pdf


def still(spec: Mapping[str, Any], name: str) -> str:
    """A Vega-Lite chart as SVG, whose ids begin with the name. Raises StoreError for a chart that cannot be drawn."""
    try:
        vega = _spoken(vl_convert.vegalite_to_vega(dict(spec), vl_version=_VERSION))
        drawn = vl_convert.vega_to_svg(vega, allowed_base_urls=[])
    except (RuntimeError, ValueError) as error:
        raise StoreError(f"the figure {name} cannot be drawn: {error}") from None
    return _numbered(_once(drawn), name)


def _spoken(part: Any) -> Any:
    """A Vega chart whose axes are read aloud by their descriptions, not Vega's own. `page.js` does the same."""
    if isinstance(part, dict):
        for axis in part.get("axes", ()):
            if "description" in axis:
                said = {"update": {"description": {"value": axis["description"]}}}
                axis["encode"] = {**axis.get("encode", {}), "axis": said}
        part = {name: _spoken(value) for name, value in part.items()}
    return [_spoken(each) for each in part] if isinstance(part, list) else part


def _once(svg: str) -> str:
    """The SVG with one label for each axis: Vega writes it on the axis and on its group. `page.js` does the same."""
    return _TWICE.sub(r"\1<g", svg)


def turning_dark(svg: str) -> str:
    """The SVG with the style that turns it dark where the reader's other pages are."""
    style = f"<style>@media (prefers-color-scheme: dark) {{\n{dark_style()}\n}}</style>"
    return re.sub(r"<svg[^>]*>", lambda root: root[0] + style, svg, count=1)


def _numbered(svg: str, name: str) -> str:
    """The SVG with its clips and gradients numbered from 0: the renderer continues its numbers over charts."""
    known = {found: f"{re.sub(r'[^A-Za-z0-9]', '-', name)}-{n}" for n, found in enumerate(_IDS.findall(svg))}
    return _USES.sub(lambda use: use[1] + known.get(use[2], use[2]) + use[3], svg)


def _sorted(pdf: bytes) -> bytes:
    """The PDF with the names of its resources in order: they come in another one every time, which means nothing."""
    return _RESOURCES.sub(lambda block: b"".join(sorted(block[0].splitlines(keepends=True))), pdf)


_IDS = re.compile(r' id="((?:clip|gradient_)\d+)"')
_USES = re.compile(r'( id="|url\(#)((?:clip|gradient_)\d+)("|\))')
_TWICE = re.compile(
    r'(<g class="mark-group role-axis"[^>]*>)<g aria-label="[^"]*" role="[^"]*" aria-roledescription="[^"]*"'
)
_RESOURCES = re.compile(rb"(?:^ +/[a-z]+\d+ \d+ 0 R\n)+", re.MULTILINE)
_VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
