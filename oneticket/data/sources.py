"""What a set consists of before decoding, and the rules that every set must keep."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from oneticket.data.images.decode import Item
from oneticket.data.reading import LeftOut, Part, Reading
from oneticket.data.roles import assign
from oneticket.data.subset import Ints, held_out
from oneticket.ground.canon import dumps
from oneticket.ground.errors import DataError

LARGE = 512 * 2**20
"""Bytes on disk above which a set is streamed instead of held, and known by its files' names and sizes alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images, encoded or as an array (N, C, H, W) of uint8 or float32, and their labels (N,), -1 where hidden.

    `origin`: what it is called where it comes from, as `Train/`.
    """

    images: Sequence[Item] | NDArray[np.generic]
    labels: Ints
    origin: str

    def at(self, rows: Ints) -> Split:
        """The images at these positions."""
        images = self.images[rows] if isinstance(self.images, np.ndarray) else _Picked(self.images, rows)
        return Split(images=images, labels=self.labels[rows], origin=self.origin)


class _Picked(Sequence[Item]):
    """Some of a sequence, fetched when asked for."""

    def __init__(self, items: Sequence[Item], rows: Ints) -> None:
        self._items, self._rows = items, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        return self._items[int(self._rows[at])]


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """A whole set as it is stored, and what was made of it."""

    train: Split
    test: Split
    reading: Reading


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSource:
    """Where a set is, what its content is known by, whether it is too large to hold, and how to read it.

    `left_out`, `notes`: what is not read of the files beside it, for the reading.
    """

    where: str
    fingerprint: str
    streams: bool
    read: Callable[[], Raw]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def settle(splits: Mapping[str, Split], classes: Sequence[str], where: str, *, notes: Sequence[str] = ()) -> Raw:
    """Training and test part of a set, checked.

    The names of the splits say which is which (`roles.assign`); a test split whose labels are hidden (-1) gives way to
    the validation split. Without a test split a fixed fifth, balanced over classes, is held out. Raises DataError for
    an empty part, a label out of range, fewer than two classes or a class without images.
    """
    for name, part in splits.items():
        if not len(part.labels):
            raise DataError(f"{where}: split {name!r} is empty; expected at least one image of each class")
    labelled = [name for name, part in splits.items() if (part.labels >= 0).any()]
    first, second = assign(splits, labelled, where)
    train, test = splits[first], splits[second] if second else None
    for part in (train, test) if test else (train,):
        _check_labels(part.labels, classes, where)
    if len(classes) < 2:
        raise DataError(f"{where}: holds the class {', '.join(classes) or 'of none'} alone; expected at least two")
    check_classes(train.labels, classes, where)
    lone = _lone(train.labels, classes) if test is None else []
    spare = {name: part for name, part in splits.items() if name not in (first, second)}
    why = {
        name: f"the test part is {test.origin}" if test and name in labelled else "it has no labels" for name in spare
    }
    train, test = (train, test) if test else _fifth_held_out(train, where)
    reading = Reading(
        where=where,
        classes=tuple(classes),
        train=_part(train),
        test=_part(test),
        left_out=tuple(_unread(part, why[name], where) for name, part in spare.items()),
        notes=(*notes, *_alike(classes), *lone),
    )
    return Raw(train=train, test=test, reading=reading)


def _check_labels(labels: Ints, classes: Sequence[str], where: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            f"{where}: image {wrong[0]} has label {labels[wrong[0]]}, outside 0..{len(classes) - 1} "
            f"({len(classes)} classes); mend the labels or the class names"
        )


def _fifth_held_out(whole: Split, where: str) -> tuple[Split, Split]:
    rows, rest = held_out(whole.labels)
    if not len(rest):
        raise DataError(f"{where}: no class has two images, so none can be held out for test; add some")
    origins = f"the rest of {whole.origin}", f"a fixed fifth of {whole.origin}, held out"
    return replace(whole.at(rows), origin=origins[0]), replace(whole.at(rest), origin=origins[1])


def _part(part: Split) -> Part:
    return Part(origin=part.origin, images=len(part.labels), classes=len(np.unique(part.labels)))


def _unread(part: Split, why: str, where: str) -> LeftOut:
    first = part.images[0] if isinstance(part.images, list) else b""
    example = os.path.relpath(first, where).replace(os.sep, "/") if isinstance(first, str) else ""
    return LeftOut(count=len(part.labels), reason=f"in {part.origin}, as {why}", example=example)


def _alike(classes: Sequence[str]) -> list[str]:
    """What is to be said of classes that people take for one."""
    seen: dict[str, str] = {}
    pairs = ((seen.setdefault(normalize("NFC", name.casefold()), name), name) for name in classes)
    return [
        f"Classes {first} and {name} differ in case or Unicode form alone" for first, name in pairs if first != name
    ]


def _lone(labels: Ints, classes: Sequence[str]) -> list[str]:
    """What is to be said of classes with one image, which the held-out part cannot have."""
    lone = [name for name, count in zip(classes, np.bincount(labels), strict=True) if count == 1]
    names = ", ".join(lone[:5]) + (f" and {len(lone) - 5} more" if len(lone) > 5 else "")
    if not lone:
        return []
    who = f"Class {names} has one image" if len(lone) == 1 else f"Classes {names} have one image each"
    return [f"{who}, which stays in the training part: the test part has none"]


def check_classes(labels: Ints, classes: Sequence[str], where: str) -> None:
    """Raise DataError where a class has no training image."""
    counts = np.bincount(labels, minlength=len(classes))
    bare = [name for name, count in zip(classes, counts, strict=True) if not count]
    if bare:
        raise DataError(f"{where}: no training images of class {', '.join(bare[:5])}; add some, or leave the class out")


def fingerprint(files: Sequence[tuple[str, Path]]) -> tuple[str, int]:
    """A digest over files, each with the name it goes by, and their bytes in all.

    Covers names and content; of more than 512 MiB, names and sizes. Raises DataError for a file that cannot be read.
    """
    hasher = hashlib.sha256()
    path = Path()
    try:
        sizes = [(path := file).stat().st_size for _, file in files]
        total = sum(sizes)
        for (name, path), size in zip(files, sizes, strict=True):
            hasher.update(dumps([name, size]).encode("ascii"))
            if total <= LARGE:
                with path.open("rb") as file:
                    hasher.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; mend it, or move it elsewhere") from None
    return hasher.hexdigest(), total
