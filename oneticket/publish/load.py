"""Tickets and books by path, by the name of a shipped one, or from the Hub."""

from __future__ import annotations

import os
from pathlib import Path

from oneticket.ground.errors import WrongFileError
from oneticket.publish import hub
from oneticket.publish.shipped import located
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.names import book_file, book_files, listed
from oneticket.ticket.ticket import Ticket


def load_ticket(
    path: str | os.PathLike[str],
    *,
    level: int | None = None,
    density: float | None = None,
    replicate: int | None = None,
) -> Ticket:
    """See `Ticket.load`."""
    path = located(path)
    found = load_book(path, replicate=replicate) if replicate is not None or os.path.isdir(path) else file.load(path)
    if isinstance(found, Ticket):
        if level is not None or density is not None:
            raise WrongFileError(f"{path}: holds one ticket; `level` and `density` choose from a book: leave them out")
        return found
    if level is not None and density is not None:
        raise WrongFileError(f"{path}: got both a level and a density; choose one with either, not both")
    if level is None and density is None:
        raise WrongFileError(
            f"{path}: a book of levels 0 to {found.levels}, density 1 to {found.density(found.levels):.4g}; "
            f"choose one by level or density (command line: --level {found.levels}; Python: level={found.levels})"
        )
    return found[level] if level is not None else found.at(density=density or 0.0)


def load_book(path: str | os.PathLike[str], *, replicate: int | None = None) -> Book:
    """See `Book.load`."""
    path = located(path)
    if os.path.isdir(path):
        path = _of_folder(path, 0 if replicate is None else replicate)
    elif replicate is not None and os.path.exists(path):
        raise WrongFileError(f"{path}: `replicate` chooses from a folder of books, this is one file: leave it out")
    found = file.load(path)
    if not isinstance(found, Book):
        raise WrongFileError(f"{path}: expected a book, got a ticket; use Ticket.load")
    return found


def ticket_from(
    where: str | os.PathLike[str],
    *,
    revision: str | None = None,
    level: int | None = None,
    density: float | None = None,
    filename: str | None = None,
    largest: int | None = None,
) -> Ticket:
    """See `Ticket.from_pretrained`."""
    names = hub.NAMES if level is None and density is None else hub.NAMES[::-1]
    wanted = (filename,) if filename is not None else names
    path = hub.find(where, revision=revision, names=wanted, largest=hub.LARGEST if largest is None else largest)
    return load_ticket(path, level=level, density=density)


def book_from(where: str | os.PathLike[str], *, revision: str | None = None, filename: str) -> Book:
    """See `Book.from_pretrained`."""
    return load_book(hub.find(where, revision=revision, names=(filename,)))


def _of_folder(folder: str | os.PathLike[str], replicate: int) -> Path:
    paths = book_files(folder)
    if replicate not in paths:
        there = f"replicates {listed([str(number) for number in paths])}" if paths else "no books"
        raise WrongFileError(f"{folder}: no book of replicate {replicate}; the folder holds {there}")
    return book_file(folder, replicate)
