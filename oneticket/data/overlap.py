"""Overlap: whether two training selections are the same, and how many examples two selections share."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oneticket.data.data import Data, Examples
from oneticket.data.images.stream import Stream
from oneticket.ground.canon import digest

Ids = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The examples of a loaded set, by their content.

    `digest`: of the training examples with their targets, in any order, without the test part. `train`, `test`: an id
    for each distinct input, ascending; empty for a set that is not available.
    """

    digest: str
    train: Ids = field(default_factory=lambda: np.empty(0, np.uint64), repr=False)
    test: Ids = field(default_factory=lambda: np.empty(0, np.uint64), repr=False)

    def shared(self, target: Selection) -> tuple[int, int]:
        """How many of its training examples are the target's training examples too, and how many its test examples."""
        both = (np.intersect1d(self.train, part, assume_unique=True) for part in (target.train, target.test))
        train, test = (len(each) for each in both)
        return train, test


def selection(data: Data) -> Selection:
    """The selection of a set, by the inputs as a network of its shape is given them, before they are scaled.

    Of streamed images the files count, not the pixels.

    >>> from oneticket.data.load import load
    >>> from oneticket.data.spec import DataSpec
    >>> half, other, less = (selection(load(DataSpec(name=name, test_examples=tests)))
    ...     for name, tests in (("digits:a", None), ("digits:b", None), ("digits:a", 50)))
    >>> half.digest == less.digest, half.digest == other.digest, half.shared(other)
    (True, False, (0, 0))
    """
    train, test = _ids(data.train), _ids(data.test)
    targets = data.train.targets.cpu().numpy()
    labels = [*map(bytes, contents(targets))]
    digests = {label: hashlib.sha256(label).digest() for label in {*labels}}
    pairs = sorted(one.tobytes() + digests[label] for one, label in zip(train, labels, strict=True))
    taken = hashlib.sha256(b"".join(pairs)).hexdigest()
    return Selection(digest=digest([taken, data.inputs.plain()]), train=np.unique(train), test=np.unique(test))


def repeated(train: NDArray[np.generic], test: NDArray[np.generic]) -> int:
    """How many inputs of `test` are the very same as one of `train`.

    >>> repeated(np.array([[1, 2], [3, 4]]), np.array([[3, 4], [3, 4], [2, 1]]))
    2
    """
    ours, theirs = (np.array([*map(zlib.crc32, contents(part))], np.uint32) for part in (train, test))
    # Few inputs share a checksum with one of the other part, and only these are compared.
    known = {*map(bytes, contents(train[np.isin(ours, theirs)]))}
    return sum(bytes(one) in known for one in contents(test[np.isin(theirs, ours)]))


def contents(part: NDArray[np.generic]) -> Iterator[memoryview]:
    """The bytes of each example, without a copy."""
    whole = np.ascontiguousarray(part)
    size = whole.nbytes // max(1, len(whole))
    flat = whole.reshape(-1).view(np.uint8).data
    return (flat[at * size : (at + 1) * size] for at in range(len(whole)))


def _ids(part: Examples | Stream) -> Ids:
    each: Iterable[bytes | memoryview]
    if isinstance(part, Stream):
        each = [item if isinstance(item, bytes) else f"{part.where} {item}".encode() for item in part.items]
    else:
        each = contents(part.inputs.cpu().numpy())
    return np.frombuffer(b"".join(hashlib.sha256(one).digest()[:8] for one in each), np.uint64)
