"""The books at a path that a user gave: a folder that `find` made, or one file."""

from __future__ import annotations

from pathlib import Path

from oneticket.ground.errors import FileError
from oneticket.ticket.book import Book, book_files
from oneticket.ticket.file import load


def books_at(path: Path) -> dict[int, tuple[Path, Book]]:
    """Replicate -> (file, book). FileError if there is none, or if a file is damaged."""
    if not path.exists():
        raise FileError(f"{path}: no such file or folder; `oneticket find --out {path}` makes one")
    if path.is_dir():
        files = book_files(path)
        if not files:
            raise FileError(f"{path}: the folder holds no book-0.safetensors; `oneticket find --out {path}` makes one")
        return {replicate: (file, Book.load(file)) for replicate, file in files.items()}
    book = load(path)
    if not isinstance(book, Book):
        raise FileError(f"{path}: is a single ticket; give the book, or the folder of books, that it came from")
    return {int(book.lineage.get("replicate", 0)): (path, book)}
