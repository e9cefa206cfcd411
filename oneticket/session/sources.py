"""The books and tickets that a user gives: themselves, a folder that `find` made, a file, a shipped ticket's name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneticket.ground.errors import SpecError
from oneticket.publish.shipped import located
from oneticket.ticket.book import Book
from oneticket.ticket.describe import replicate_of
from oneticket.ticket.file import load
from oneticket.ticket.names import books_in
from oneticket.ticket.ticket import Ticket

Sources = Mapping[int, tuple[Path | None, Book | Ticket]]
"""Replicate -> (file, book or ticket); None for what was given itself."""


def sources_at(path: Path) -> dict[int, tuple[Path, Book | Ticket]]:
    """Replicate -> (file, book or ticket). FileError if there is none, or if a file is damaged."""
    path = located(path)
    if path.is_dir():
        return {replicate: (file, Book.load(file)) for replicate, file in books_in(path).items()}
    thing = load(path)
    return {replicate_of(thing): (path, thing)}


def sources_of(given: Ticket | Book | str | os.PathLike[str] | Sequence[Book]) -> Sources:
    """The same of what Python gives; SpecError for anything else, and for two books of one replicate."""
    if isinstance(given, str | os.PathLike):
        return dict(sources_at(Path(given)))
    things: list[Any] = (
        [given] if isinstance(given, Ticket | Book) else [*given] if isinstance(given, list | tuple) else []
    )
    if not things or not all(isinstance(one, Ticket | Book) for one in things):
        raise SpecError(f"source: expected a Ticket, a Book, a path, or a list of books, got {type(given).__name__}")
    found = {replicate_of(one): (None, one) for one in things}
    if len(found) < len(things):
        raise SpecError(f"source: expected one book for each replicate, got {len(things)} of {len(found)} replicates")
    return found
