"""The zoo: lists of tickets and books: shipped ones, those of a folder, and those on the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oneticket.ground.errors import FileError, OneticketError
from oneticket.publish import hub, remote
from oneticket.publish.shipped import named, shipped
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

LARGEST = 64 * 2**20
"""Bytes above which a remote file is not fetched for a list."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ZooEntry:
    """One file of a list: its preview, or why it cannot be read. `size` is in bytes, 0 if unknown."""

    name: str
    thing: Ticket | Book | None
    size: int
    problem: str = ""


def single(where: str) -> Path | None:
    """The file of a single ticket or book, fetched from the Hub if need be; None for a place of several.

    Raises FileError for a missing place.
    """
    if path := named(where):
        return path
    place = hub.parse(where, several=True)
    if isinstance(place, str):
        one = remote.REPO.fullmatch(place) and not remote.COLLECTION.fullmatch(place)
        return hub.find(f"hf://{place}") if one else None
    return None if place.is_dir() else hub.find(place)


def entries(where: str | os.PathLike[str] | None = None) -> Iterator[ZooEntry]:
    """The shipped tickets and books, or those of a folder, a Hub user, collection or repository.

    Of a folder: its files, and `ticket.safetensors` and `book.safetensors` of its subfolders. A bad file is an entry
    with its reason. Raises FileError for a missing place.

    >>> {entry.name: entry.problem for entry in entries()}["digits-a"]
    ''
    """
    if where is None:
        for name, path in shipped().items():
            yield _read(name, path)
        return
    place = hub.parse(where, several=True)
    if isinstance(place, str):
        for repo in remote.repositories(place):
            yield _read(repo, hub.find(f"hf://{repo}", largest=LARGEST)) if repo == place else _fetched(repo)
    elif place.is_dir():
        for name in _names(place):
            try:
                yield _read(name, hub.inside(place, name))
            except FileError as error:
                yield ZooEntry(name=name, thing=None, size=0, problem=str(error))
    else:
        yield _read(place.name, place)


def _names(folder: Path) -> Iterator[str]:
    """The files to list in a folder and, one level deep, in its subfolders; no hidden ones."""
    try:
        found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        for entry in found:
            if entry.name.endswith(".safetensors"):
                yield entry.name
            elif entry.is_dir():
                yield from (f"{entry.name}/{name}" for name in hub.NAMES if os.path.lexists(entry / name))
    except OSError as error:
        raise FileError(f"{folder}: cannot be listed: {error.strerror}") from error


def _fetched(repo: str) -> ZooEntry:
    try:
        return _read(repo, hub.find(f"hf://{repo}", largest=LARGEST))
    except OneticketError as error:
        return ZooEntry(name=repo, thing=None, size=0, problem=str(error).removeprefix(f"{repo}: "))


def _read(name: str, path: Path) -> ZooEntry:
    try:
        return ZooEntry(name=name, thing=file.load(path), size=path.stat().st_size)
    except FileError as error:
        size = path.stat().st_size if path.is_file() else 0
        return ZooEntry(name=name, thing=None, size=size, problem=str(error).removeprefix(f"{path}: "))
