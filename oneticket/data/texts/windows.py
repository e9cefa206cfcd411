"""One long text in windows: the next byte is to be predicted from each position of a window."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oneticket.ground.errors import DataError

Ids = NDArray[np.int64]


def parts(text: bytes, half: Literal["a", "b"] | None = None) -> dict[str, bytes]:
    """The first nine tenths of the bytes, or the first or second half of those, and the last tenth.

    >>> parts(b"abcdefghij" * 2, "b")
    {'train': b'jabcdefgh', 'test': b'ij'}
    """
    end = len(text) * 9 // 10
    middle = end // 2
    train = {None: text[:end], "a": text[:middle], "b": text[middle:end]}[half]
    return {"train": train, "test": text[end:]}


def windows(text: bytes, length: int) -> tuple[Ids, Ids]:
    """Inputs and targets, int64 (N, length) each: bytes in their order, and for each the byte that follows it.

    Windows share one byte: the last target of one is the first input of the next. What is left at the end, less than a
    window, is not used.

    >>> [each.tolist() for each in windows(b"abcdef", 2)]
    [[[97, 98], [99, 100]], [[98, 99], [100, 101]]]
    """
    whole = np.frombuffer(text, np.uint8)
    count = max(0, (len(whole) - 1) // length)
    inputs, targets = (whole[at : at + count * length].reshape(count, length).astype(np.int64) for at in (0, 1))
    return inputs, targets


def check(text: bytes, pieces: dict[str, bytes], length: int, where: str) -> None:
    """Raise DataError for a text that is too short for a window in each part, or that holds a NUL byte."""
    if not text:
        raise DataError(f"{where}: the file is empty; expected a text")
    if (at := text.find(b"\0")) >= 0:
        raise DataError(
            f"{where}: byte {at} is NUL, so this is no UTF-8 text (UTF-16 has such bytes); save it as UTF-8"
        )
    for name, piece in pieces.items():
        if len(piece) <= length:
            raise DataError(
                f"{where}: {len(text):,} bytes, of which the {name} part has {len(piece):,}; a window needs "
                f"{length + 1:,}; take a longer text, or set a smaller length"
            )
