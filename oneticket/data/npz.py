"""NumPy's `.npz` archives: header, dtype and size of an array are checked before it is made."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from oneticket.ground.errors import FileError, WrongFileError
from oneticket.ground.memory import afford
from oneticket.ticket.names import listed

NUMBERS = "biuf"
"""Kinds of dtype that are truth values or numbers."""

LONGEST_HEADER = 10_000
"""Bytes of a header, as NumPy itself reads them; written ones have about 100."""

DEEPEST = 100
"""Brackets and signs in a header: Python's parser, which reads it, may run out of stack for some thousands."""


def names(archive: zipfile.ZipFile) -> list[str]:
    """The arrays in an archive, by name; WrongFileError for one that holds anything else."""
    found = archive.namelist()
    if not found or not all(name.endswith(".npy") for name in found):
        raise WrongFileError(f"expected a zip archive of arrays only, got one with {listed(found)}")
    return [name.removesuffix(".npy") for name in found]


def read(archive: zipfile.ZipFile, wanted: Iterable[str], *, kinds: str = NUMBERS) -> dict[str, NDArray[np.generic]]:
    """Those arrays, in this machine's byte order; FileError for one that is not what its entry holds.

    `kinds`: what dtypes may be, as in `numpy.dtype.kind`. What all of them take is asked for before any is made.
    """
    wanted = list(wanted)
    declared = sum(archive.getinfo(f"{name}.npy").file_size for name in wanted)
    afford(2 * declared, "its arrays")
    return {name: _array(archive, name, kinds) for name in wanted}


def _array(archive: zipfile.ZipFile, name: str, kinds: str) -> NDArray[np.generic]:
    entry = archive.getinfo(f"{name}.npy")
    try:
        with archive.open(entry) as stream:
            shape, dtype = _header(stream)
            if dtype.kind not in kinds or not dtype.itemsize or (dtype.kind in NUMBERS and dtype.itemsize > 8):
                raise FileError(f"expected truth values or numbers, got dtype {str(dtype)[:80]}")
            if not _fits(shape, dtype.itemsize, entry.file_size - stream.tell()):
                raise FileError(f"of shape {str(shape)[:80]}, which is not what the file holds")
            stream.seek(0)
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except FileError as error:
        raise FileError(f"array {name[:80]!r}: {error}") from None
    if array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
        raise FileError(f"array {name[:80]!r}: a truth value must be 0 or 1")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and dtype. What is parsed is short and shallow."""
    start = stream.read(12)
    version = start[6:8]
    if start[:6] != b"\x93NUMPY" or version not in _LENGTHS:
        raise FileError(f"not an array of NumPy's format 1.0 or 2.0: it begins {start[:8]!r}")
    length = int.from_bytes(start[8 : 8 + _LENGTHS[version]], "little")
    if length > LONGEST_HEADER:
        raise FileError(f"a header of {length:,} bytes, more than the {LONGEST_HEADER:,} that are read")
    stream.seek(8 + _LENGTHS[version])
    text = stream.read(length)
    if sum(map(text.count, b"([{-+~")) > DEEPEST:
        raise FileError(f"a header of more than {DEEPEST} brackets and signs")
    stream.seek(8)
    try:
        shape, _, dtype = _READERS[version](stream)
    except Exception as error:  # Python's parser raises many kinds of errors for text that is no header
        raise FileError(f"its header cannot be read: {type(error).__name__}") from None
    return shape, dtype


def _fits(shape: tuple[object, ...], width: int, size: int) -> bool:
    """Whether an array of that shape takes exactly so many bytes; True is no length."""
    lengths = [length for length in shape if type(length) is int and 0 <= length < 2**48]
    return len(lengths) == len(shape) <= 32 and math.prod(lengths) * width == size


_LENGTHS = {b"\x01\x00": 2, b"\x02\x00": 4}
"""Bytes of the header's length, by the format's version; 3.0 is for names of fields, which are refused."""

_READERS = {
    b"\x01\x00": np.lib.format.read_array_header_1_0,
    b"\x02\x00": np.lib.format.read_array_header_2_0,
}
