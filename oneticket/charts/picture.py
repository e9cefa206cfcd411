"""Pictures: the figures of a study that there is something to draw for, as charts and as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneticket.charts.chart import write
from oneticket.charts.figures import figure_named
from oneticket.ground.errors import SpecError
from oneticket.study.findings import Findings


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn figure: its Vega-Lite chart, its still (SVG), and the names of its files, the still's first."""

    name: str
    title: str
    caption: str
    chart: Mapping[str, Any]
    still: bytes
    files: tuple[str, ...]


def pictures(findings: Findings, folder: Path) -> list[Picture]:
    """Draw the plan's figures and write their files; a figure with nothing to draw is left out.

    Raises StoreError as `write`, and SpecError as `figure_named` or for two figures whose files have one name.
    """
    figures = [figure_named(name) for name in findings.plan.figures]
    names = [figure.name for figure in figures]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"figures: two are called {twice[0]}, and so would be their files; give one another name")
    drawn = []
    for figure in figures:
        chart = figure.draw(findings)
        if chart is None:
            continue
        files = write(chart, folder, figure.name)
        picture = Picture(
            name=figure.name,
            title=figure.title,
            caption=figure.caption,
            chart=chart.to_dict(),
            still=files[0].read_bytes(),
            files=tuple(file.name for file in files),
        )
        drawn.append(picture)
    return drawn


def undrawn(asked: Iterable[str], drawn: Iterable[Picture]) -> str:
    """Which of the figures asked for there is nothing to draw for, and what each takes; empty if all are there.

    >>> undrawn(["scores"], [])[:60]
    'Not drawn, for want of what they show: Scores over density ('
    """
    names = {picture.name for picture in drawn}
    figures = map(figure_named, asked)
    lacking = [f"{figure.title} ({figure.needs})" for figure in figures if figure.name not in names]
    return f"Not drawn, for want of what they show: {'; '.join(lacking)}." if lacking else ""
