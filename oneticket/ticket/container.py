"""The outer file: safetensors with one metadata key, equal bytes for equal content, and a digest over all of them.

Our own code (`header`) writes the layout, not the safetensors library, so that the bytes depend on no library's
version; the tests read every file back with the library itself.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from oneticket.ground import disk
from oneticket.ground.canon import dumps
from oneticket.ground.errors import FileError, OneticketError, WrongFileError
from oneticket.ground.memory import afford
from oneticket.ticket import header, names
from oneticket.ticket.header import Table, shown

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

FORMAT = 2
"""The highest format that is read; files are written in the lowest sufficient one."""

KEY = "oneticket"
_UNSIGNED = "0" * 64


def encode(meta: Mapping[str, Any], tensors: Mapping[str, Tensor], *, format: int = 1) -> bytes:
    """The bytes of a file. `digest` is the SHA-256 of the whole file with the digest's own 64 digits set to 0."""
    from oneticket.ticket import values

    table, body = values.table_of(tensors), values.body(tensors)
    unsigned = {**meta, "format": format, "digest": _UNSIGNED}
    return _start({**unsigned, "digest": _digest(_start(unsigned, table), body)}, table) + body


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Put the bytes in place all at once or not at all; raises FileError and leaves what was there whole."""
    write_all({Path(path): data})


def write_all(files: Mapping[Path, bytes]) -> None:
    """As `write`, for files that belong together: all are in place, or none is."""
    try:
        disk.replace_all(files)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        named = ", ".join(map(str, files))
        raise FileError(f"{named}: cannot be written: {reason}; nothing was changed") from error


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file that is whole and untouched; raises FileError with the path and the reason.

    The header is checked in full against the file's size before any tensor is allocated.
    """
    return _opened(path, decode)


def contents(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Table, bytearray]:
    """Metadata, table and bytes of a file, checked as `read` does, for those who need no tensors."""
    return _opened(path, _contents)


def _opened(path: str | os.PathLike[str], read: Callable[[BinaryIO, int], T]) -> T:
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise WrongFileError("is a folder; expected a file" if stat.S_ISDIR(mode) else "is not a regular file")
        with open(path, "rb") as file:
            return read(file, os.fstat(file.fileno()).st_size)
    except OneticketError as error:
        sort = WrongFileError if isinstance(error, WrongFileError) else FileError
        raise sort(f"{path}: {plain(error)}") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WrongFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise FileError(f"{path}: cannot be read: {reason}") from error


def decode(file: BinaryIO, size: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The content of an open file of `size` bytes; raises FileError with the reason."""
    from oneticket.ticket.values import tensor

    meta, table, body = _contents(file, size)
    return meta, {name: tensor(name, part, table) for name, part in header.parts(body, table).items()}


def _contents(file: BinaryIO, size: int) -> tuple[dict[str, Any], Table, bytearray]:
    start = file.read(8)
    text = file.read(header.length(start, size))
    meta, table = _parse(text)
    held, expected = size - 8 - len(text), header.total(table)
    if held != expected:
        raise FileError(f"truncated or overlong: the tensors need {expected} bytes, the file holds {held}")
    header.check(start + text, {KEY: dumps(meta)}, table)
    afford(3 * expected, f"tensors of {expected:,} bytes")
    body = bytearray(expected)
    if file.readinto(body) != expected:  # type: ignore[attr-defined]
        raise FileError("truncated while it was read")
    if meta["digest"] != _digest(_start({**meta, "digest": _UNSIGNED}, table), body):
        raise FileError("the digest does not match: the file is damaged or was altered")
    return meta, table, body


def _parse(text: bytes) -> tuple[dict[str, Any], Table]:
    """The metadata and, per tensor, dtype and shape."""
    extra, entries = header.parse(text)
    if not isinstance(extra, dict) or KEY not in extra:
        raise WrongFileError(f"a safetensors file but not a ticket or book: it has no {KEY!r} metadata")
    if len(extra) != 1 or not isinstance(extra[KEY], str):
        raise FileError(f"expected the one metadata key {KEY!r} with text, got {names.listed(extra)}")
    meta = header.json_of(extra[KEY].encode("utf-8", "replace"), "the metadata")
    try:
        canonical = dumps(meta) == extra[KEY]
    except (ValueError, RecursionError):
        canonical = False
    if not canonical:
        raise FileError("the metadata is not canonical JSON")
    version = meta.get("format")
    if type(version) is not int or version < 1:
        raise FileError(f"format: expected a whole number from 1, got {shown(version)}")
    if version > FORMAT:
        raise FileError(f"format {shown(version)} is newer than format {FORMAT}, which this version reads; upgrade")
    if not isinstance(meta.get("digest"), str):
        raise FileError("the metadata has no digest")
    return meta, header.table(entries)


def _start(meta: Mapping[str, Any], table: Table) -> bytes:
    return header.compose({KEY: dumps(meta)}, table)


def _digest(start: bytes, body: bytes | bytearray) -> str:
    signed = hashlib.sha256(start)
    signed.update(body)
    return signed.hexdigest()


def plain(error: OneticketError) -> str:
    """Words about an untrusted file, which may quote it: short, and nothing in them that a terminal obeys."""
    words = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(error)[:1000])
    return words if len(words) <= 800 else words[:797] + "..."
