"""Pictures: the figures of a study that there is something to draw for, as charts and as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oneticket.charts.chart import still, write
from oneticket.charts.figures import HERO, Figure, figure_named
from oneticket.charts.sheet import Heading, apart, first, heading_of
from oneticket.charts.theme import Chart
from oneticket.ground.errors import SpecError
from oneticket.study.findings import Findings


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: a Vega-Lite chart that fits a width, its still, an SVG, and what a page sets above both."""

    chart: Mapping[str, Any]
    still: str
    heading: Heading


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn figure: its panels, its notes, and the names of its files, that of the still image first.

    `first`: how many panels are shown before the details are opened. `menu`: what a reader may select for all panels at
    once, as in the chart, or None.
    """

    name: str
    title: str
    caption: str
    notes: str
    panels: tuple[Panel, ...]
    first: int
    menu: Mapping[str, Any] | None
    files: tuple[str, ...] = ()


def pictures(findings: Findings, folder: Path) -> list[Picture]:
    """Draw the plan's figures and write their files; a figure with nothing to draw is left out.

    Raises StoreError as `write`, and SpecError as `figure_named` or for two figures whose files have one name.
    """
    figures = [figure_named(name) for name in findings.plan.figures]
    names = [HERO.name, *(figure.name for figure in figures)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"figures: two are called {twice[0]}, and so would be their files; give one another name")
    return [drawn for figure in figures if (drawn := _picture(figure, findings, folder))]


def hero(findings: Findings, folder: Path) -> Picture | None:
    """Draw the figure that stands under the verdicts and write its files; None for nothing to draw."""
    return _picture(HERO, findings, folder)


def undrawn(asked: Iterable[str], drawn: Iterable[Picture]) -> str:
    """Names of the requested figures that cannot be drawn, and what each needs; empty if all are drawn.

    >>> undrawn(["scores"], [])[:60]
    'Not drawn, for want of what they show: Scores over density ('
    """
    names = {picture.name for picture in drawn}
    figures = map(figure_named, asked)
    lacking = [f"{figure.title} ({figure.needs})" for figure in figures if figure.name not in names]
    return f"Not drawn, for want of what they show: {'; '.join(lacking)}." if lacking else ""


def _picture(figure: Figure, findings: Findings, folder: Path) -> Picture | None:
    chart = figure.draw(findings)
    if chart is None:
        return None
    files = write(chart, folder, figure.name)
    return replace(picture(figure, chart), files=tuple(file.name for file in files))


def picture(figure: Figure, chart: Chart) -> Picture:
    """A figure as it is drawn, without files. Raises StoreError for a chart that cannot be drawn."""
    whole = chart.to_dict()
    panels = apart(whole)
    return Picture(
        name=figure.name,
        title=figure.title,
        caption=figure.caption,
        notes=_notes(whole) if len(panels) > 1 or panels[0].get("autosize") else "",
        panels=tuple(
            Panel(chart=panel, still=still({**panel, **ROOM}, f"{figure.name}-{number}"), heading=heading_of(panel))
            for number, panel in enumerate(panels)
        ),
        first=first(whole),
        menu=next((param for param in whole.get("params", ()) if "select" not in param), None),
    )


def _notes(chart: Mapping[str, Any]) -> str:
    """What a chart says below its title."""
    return " ".join(chart.get("title", {}).get("subtitle", ()))


ROOM = {"padding": {"left": 14, "right": 10, "top": 4, "bottom": 4}}
"""Around a still: a browser's letters are a little wider than those that it was measured with."""
