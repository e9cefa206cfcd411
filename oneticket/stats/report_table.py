"""One table of a report or a terminal: lines of text, for any renderer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportTable:
    """A title, a header, rows of as many cells, and the caption that explains the cells."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
