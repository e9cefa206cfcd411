"""What a set consists of before decoding, and the rules that every set must keep."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneticket.data.decode import Item
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

    `origin`: what it is called where it comes from, as `Train/`; its name if left out.
    """

    images: Sequence[Item] | NDArray[np.generic]
    labels: Ints
    origin: str = ""

    def at(self, rows: Ints) -> Split:
        """The images at these positions."""
        images = self.images[rows] if isinstance(self.images, np.ndarray) else _Picked(self.images, rows)
        return Split(images=images, labels=self.labels[rows])


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
class Source:
    """Where a set is, what its content is known by, whether it is too large to hold, and how to read it.

    `left_out`: the files beside it that are not read.
    """

    where: str
    fingerprint: str
    streams: bool
    read: Callable[[], Raw]
    left_out: tuple[LeftOut, ...] = ()


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
        wrong = np.flatnonzero((part.labels < 0) | (part.labels >= len(classes)))
        if len(wrong):
            raise DataError(
                f"{where}: image {wrong[0]} has label {part.labels[wrong[0]]}, outside 0..{len(classes) - 1} "
                f"({len(classes)} classes); mend the labels or the class names"
            )
    if len(classes) < 2:
        raise DataError(f"{where}: holds the class {', '.join(classes) or 'of none'} alone; expected at least two")
    check_classes(train.labels, classes, where)
    origin, notes = train.origin or first, list(notes)
    if test is None:
        lone = [name for name, count in zip(classes, np.bincount(train.labels), strict=True) if count == 1]
        notes += [_kept(lone)] if lone else []
        rows, rest = held_out(train.labels)
        if not len(rest):
            raise DataError(f"{where}: no class has two images, so none can be held out for test; add some")
        train, test = train.at(rows), train.at(rest)
        parts = _part(f"the rest of {origin}", train), _part(f"a fixed fifth of {origin}, held out", test)
    else:
        parts = _part(origin, train), _part(test.origin or str(second), test)
    unread = [_unread(name, splits[name], name in labelled, second) for name in splits if name not in (first, second)]
    reading = Reading(
        where=where,
        classes=tuple(classes),
        train=parts[0],
        test=parts[1],
        left_out=tuple(unread),
        notes=tuple(notes),
    )
    return Raw(train=train, test=test, reading=reading)


def _part(origin: str, part: Split) -> Part:
    return Part(origin=origin, images=len(part.labels), classes=len(np.unique(part.labels)))


def _unread(name: str, part: Split, labelled: bool, test: str | None) -> LeftOut:
    why = f"the test part is {test}" if labelled else "it has no labels"
    return LeftOut(count=len(part.labels), reason=f"in {part.origin or name}, as {why}")


def _kept(lone: Sequence[str]) -> str:
    """Of classes with one image, which the held-out part cannot have."""
    names = ", ".join(lone[:5]) + (f" and {len(lone) - 5} more" if len(lone) > 5 else "")
    one = len(lone) == 1
    return (
        f"Class{'' if one else 'es'} {names} {'has' if one else 'have'} one image{'' if one else ' each'}, "
        "which stays in the training part: the test part has none"
    )


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
