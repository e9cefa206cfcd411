"""What a set consists of before decoding: its parts, where it is, what it is known by, what is asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneticket.data.images.decode import Item
from oneticket.data.reading import LeftOut, Reading
from oneticket.data.spec import DataSpec
from oneticket.data.subset import Ints
from oneticket.ground.canon import dumps
from oneticket.ground.errors import DataError
from oneticket.task.inputs import Inputs
from oneticket.task.spec import Kind, Targets

LARGE = 512 * 2**20
"""Bytes on disk above which a set is streamed instead of held, and known by its files' names and sizes alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DataRequest:
    """What a reader is asked for: a set, the kind of targets that the task needs, and what a network takes.

    `inputs`: what a network takes that was found on other data; None where there is none yet.
    """

    spec: DataSpec
    targets: Targets = "classes"
    inputs: Inputs | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Inputs and targets of one part, as they are stored: nothing is scaled yet.

    `inputs`: images, encoded or uint8 or float32 (N, C, H, W); vectors float32 (N, F); series float32 (N, C, T); tokens
    int64 (N, T). `targets`: classes int64 (N,), -1 where hidden; numbers float32 (N, K) in their own unit; tokens int64
    (N, T); with "given" any, one for each input. `origin`: its name at the source, such as `Train/`.
    """

    inputs: Sequence[Item] | NDArray[np.generic]
    targets: NDArray[Any]
    origin: str

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, rows: Ints) -> Split:
        """The examples at these positions."""
        inputs = self.inputs[rows] if isinstance(self.inputs, np.ndarray) else _Picked(self.inputs, rows)
        return Split(inputs=inputs, targets=self.targets[rows], origin=self.origin)


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
    """A whole set as it is stored, checked, with its facts; `settle` makes it.

    `kind`: of its inputs. `vocabulary`: the number of tokens. `targets`: their kind. `outputs`: how many a network
    needs for "given" targets, None if unknown. `unscaled`: which numbers of vectors are 0 or 1 and are not scaled.
    `columns`: of a table, as JSON values: its `label`, what each of the `inputs` is, and the values `filled` in for
    missing ones.
    """

    train: Split
    test: Split
    reading: Reading
    kind: Kind = "images"
    vocabulary: int | None = None
    targets: Targets = "classes"
    outputs: int | None = None
    unscaled: tuple[int, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSource:
    """Where a set is, the fingerprint of its files, whether it is too large for memory, and how to read it.

    The result of `read` is stored by `fingerprint` and `options`: all settings, as JSON values, on which it depends in
    addition to the files. Without a fingerprint nothing is stored. `halved`: whether it selects the requested half
    itself. `left_out`, `notes`: files next to it that are not read, for the reading.
    """

    where: str
    fingerprint: str
    read: Callable[[], Raw]
    streams: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    halved: bool = False
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def fingerprint(files: Sequence[tuple[str, Path]]) -> tuple[str, int]:
    """A digest over files, each with its name, and their total bytes.

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
                of = path.stat()
                hasher.update(_content(path, (of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns)))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; mend it, or move it elsewhere") from None
    return hasher.hexdigest(), total


@lru_cache(maxsize=2**16)
def _content(path: Path, _mark: tuple[int, ...]) -> bytes:
    """The SHA-256 of a file with that mark, which changes when it does; a study asks for one set in many ways."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
