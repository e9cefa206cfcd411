"""The books and tickets at a path that a user gave: a folder that `find` made, one file, or a shipped ticket's name."""

from __future__ import annotations

from pathlib import Path

from oneticket.ground.errors import FileError
from oneticket.lottery.transfer import replicate_of
from oneticket.publish.shipped import located
from oneticket.ticket.book import Book, book_files
from oneticket.ticket.file import load
from oneticket.ticket.ticket import Ticket


def sources_at(path: Path) -> dict[int, tuple[Path, Book | Ticket]]:
    """Replicate -> (file, book or ticket). FileError if there is none, or if a file is damaged."""
    path = located(path)
    if path.is_dir():
        files = book_files(path)
        if not files:
            raise FileError(f"{path}: the folder holds no book-0.safetensors; `oneticket find --out {path}` makes one")
        return {replicate: (file, Book.load(file)) for replicate, file in files.items()}
    thing = load(path)
    return {replicate_of(thing): (path, thing)}
