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
from oneticket.data.subset import Ints, held_out
from oneticket.ground.canon import dumps
from oneticket.ground.errors import DataError

LARGE = 512 * 2**20
"""Bytes on disk above which a set is streamed instead of held, and known by its files' names and sizes alone."""

TRAIN = ("train", "training")
TEST = ("test", "testing", "validation", "valid", "val")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images, encoded or as an array (N, C, H, W) of uint8 or float32, and their labels (N,)."""

    images: Sequence[Item] | NDArray[np.generic]
    labels: Ints

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
    """A whole set as it is stored."""

    train: Split
    test: Split
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where a set is, what its content is known by, whether it is too large to hold, and how to read it."""

    where: str
    fingerprint: str
    streams: bool
    read: Callable[[], Raw]


def settle(splits: Mapping[str, Split], classes: Sequence[str], where: str) -> Raw:
    """Training and test part of a set, checked.

    A test part whose labels are hidden (-1) gives way to the validation part. Of a single part a fixed fifth, balanced
    over classes, is held out for test. Raises DataError for an empty part, a label out of range or a class without
    images.
    """
    for name, part in splits.items():
        if not len(part.labels):
            raise DataError(f"{where}: split {name!r} is empty; expected at least one image of each class")
    train = next((splits[name] for name in TRAIN if name in splits), None)
    test = next((splits[name] for name in TEST if name in splits and (splits[name].labels >= 0).any()), None)
    if train is None and len(splits) == 1:
        train, test = next(iter(splits.values())), None
    if train is None:
        raise DataError(
            f"{where}: no training split; expected one of {', '.join(TRAIN)}, got {', '.join(splits) or 'none'}"
        )
    for part in (train, test) if test else (train,):
        wrong = np.flatnonzero((part.labels < 0) | (part.labels >= len(classes)))
        if len(wrong):
            raise DataError(
                f"{where}: image {wrong[0]} has label {part.labels[wrong[0]]}, outside 0..{len(classes) - 1} "
                f"({len(classes)} classes); mend the labels or the class names"
            )
    if test is None:
        rows, rest = held_out(train.labels)
        train, test = train.at(rows), train.at(rest)
    check_classes(train.labels, classes, where)
    return Raw(train=train, test=test, classes=tuple(classes))


def check_classes(labels: Ints, classes: Sequence[str], where: str) -> None:
    """Raise DataError where a class has no training image."""
    counts = np.bincount(labels, minlength=len(classes))
    bare = [name for name, count in zip(classes, counts, strict=True) if not count]
    if bare:
        raise DataError(f"{where}: no training images of class {', '.join(bare[:5])}; add some, or leave the class out")


def fingerprint(files: Sequence[tuple[str, Path]]) -> tuple[str, int]:
    """A digest over files, each with the name it goes by, and their bytes in all.

    Covers names and content; of more than 512 MiB, names and sizes.
    """
    sizes = [path.stat().st_size for _, path in files]
    total = sum(sizes)
    hasher = hashlib.sha256()
    for (name, path), size in zip(files, sizes, strict=True):
        hasher.update(dumps([name, size]).encode("ascii"))
        if total <= LARGE:
            with path.open("rb") as file:
                hasher.update(hashlib.file_digest(file, "sha256").digest())
    return hasher.hexdigest(), total
