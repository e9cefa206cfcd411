"""Zip archives that others wrote: names, sizes and compression are checked before anything in them is read."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from oneticket.ground.errors import FileError

DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, NotImplementedError, EOFError, ValueError)
"""What the standard library raises for a damaged archive, when it is opened or when an entry is read."""


DENSEST = 1032
"""The most bytes that a byte of deflate can stand for."""


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """The archive in an open file, its entries checked.

    Raises FileError, which names no file, for one that is damaged or hostile, also while entries are read in the block.
    """
    try:
        size = file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            counts = Counter(archive.namelist())
            for entry in archive.infolist():
                _check(entry, counts[entry.filename])
            if sum(entry.compress_size for entry in archive.infolist()) > size:
                raise FileError("the archive's entries overlap: they claim more bytes than the file has")
            yield archive
    except DAMAGE as error:
        raise FileError(f"a damaged archive: {str(error)[:160] or type(error).__name__}") from None


def _check(entry: zipfile.ZipInfo, count: int) -> None:
    name = entry.filename
    parts = PurePosixPath(name).parts
    if count > 1 or name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise FileError(f"the archive has an entry {name[:80]!r}: absolute, upwards or repeated names are refused")
    if entry.flag_bits & 1:
        raise FileError(f"the archive's entry {name[:80]!r} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileError(f"the archive's entry {name[:80]!r} is compressed by method {entry.compress_type}, not deflate")
    if entry.file_size > (entry.compress_size + 1) * (DENSEST if entry.compress_type else 1):
        held = f"{entry.compress_size:,} bytes cannot hold"
        raise FileError(f"the archive's entry {name[:80]!r}: {held} the {entry.file_size:,} that it claims")
