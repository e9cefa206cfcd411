"""Pictures: the figures of a study that there is something to draw for, as charts and as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneticket.charts.chart import write
from oneticket.charts.figures import FIGURES
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
    """Draw the figures and write their files; a figure with nothing to draw is left out. StoreError as `write`."""
    drawn = []
    for name, figure in FIGURES.items():
        chart = figure.draw(findings)
        if chart is None:
            continue
        files = write(chart, folder, name)
        picture = Picture(
            name=name,
            title=figure.title,
            caption=figure.caption,
            chart=chart.to_dict(),
            still=files[0].read_bytes(),
            files=tuple(file.name for file in files),
        )
        drawn.append(picture)
    return drawn


def undrawn(drawn: Iterable[Picture]) -> str:
    """Which figures there is nothing to draw for, and what each of them takes; empty if all are there.

    >>> undrawn([])[:60]
    'Not drawn, for want of what they show: Scores over density ('
    """
    names = {picture.name for picture in drawn}
    lacking = [f"{figure.title} ({figure.needs})" for figure in FIGURES.values() if figure.name not in names]
    return f"Not drawn, for want of what they show: {'; '.join(lacking)}." if lacking else ""
