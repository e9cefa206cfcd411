"""Short texts as their UTF-8 bytes: one row of ids for each text, padded with 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oneticket.ground.errors import DataError
from oneticket.ground.memory import afford

VOCABULARY = 256
"""Ids: the bytes 1 to 255, and 0, which pads."""

LONGEST = 256
"""Bytes of a text that are read at most, where no length is asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedTexts:
    """Ids int64 (N, T), and how many texts were cut."""

    ids: NDArray[np.int64]
    cut: int


def length_of(texts: Sequence[str]) -> int:
    """Bytes of the longest text, 1 at least and 256 at most.

    >>> length_of(["tasche", "größe"])
    7
    """
    return min(LONGEST, max((len(text.encode()) for text in texts), default=0)) or 1


def encoded(texts: Sequence[str], length: int, where: str) -> EncodedTexts:
    """Texts as ids (N, length): their bytes, cut or padded with 0; raises DataError for a text with a NUL byte.

    >>> encoded(["ab", "abcd"], 3, "words").ids.tolist()
    [[97, 98, 0], [97, 98, 99]]
    """
    afford(8 * len(texts) * length, f"{where}: {len(texts):,} texts of {length:,} bytes")
    plain = [text.encode() for text in texts]
    broken = next((row for row, text in enumerate(plain) if b"\0" in text), None)
    if broken is not None:
        raise DataError(f"{where}: text {broken} holds a NUL byte, which stands for the end of a text; take it out")
    rows = b"".join(text[:length].ljust(length, b"\0") for text in plain)
    ids = np.frombuffer(rows, np.uint8).reshape(len(texts), length).astype(np.int64)
    return EncodedTexts(ids=ids, cut=sum(len(text) > length for text in plain))
