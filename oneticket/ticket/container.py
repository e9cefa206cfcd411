"""The outer file: safetensors with one metadata key, equal bytes for equal content, and a digest over all of them.

The layout is written here, not by the safetensors library, so that the bytes depend on no library's version; the tests
read every file back with the library itself. The reader accepts exactly the bytes that the writer would have written.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from oneticket.ground import disk
from oneticket.ground.canon import dumps
from oneticket.ground.errors import FileError, OneticketError
from oneticket.ticket import names
from oneticket.ticket.values import CODES, DTYPES, afford, from_raw, raw

FORMAT = 1
KEY = "oneticket"
LARGEST_HEADER = 64 * 2**20
_PER_BYTE = 100
"""Bytes that a byte of JSON may take while it is read, as objects and as text: up to 71 were measured."""
_UNSIGNED = "0" * 64


def encode(meta: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file. `digest` is the SHA-256 of the whole file with the digest's own 64 digits set to 0."""
    table = {name: (CODES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    body = b"".join(raw(tensors[name]) for name in _ordered(table))
    unsigned = {**meta, "format": FORMAT, "digest": _UNSIGNED}
    signed = {**unsigned, "digest": _digest(_header(unsigned, table), body)}
    return _header(signed, table) + body


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Put the bytes in place all at once or not at all; raises FileError and leaves what was there whole."""
    try:
        disk.replace(Path(path), data)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise FileError(f"{path}: cannot be written: {reason}; nothing was changed") from error


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file that is whole and untouched; raises FileError with the path and the reason.

    The header is checked in full against the file's size before any tensor is allocated.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise FileError("is a folder; expected a file" if stat.S_ISDIR(mode) else "is not a regular file")
        with open(path, "rb") as file:
            return decode(file, os.fstat(file.fileno()).st_size)
    except OneticketError as error:
        raise FileError(f"{path}: {plain(error)}") from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise FileError(f"{path}: cannot be read: {reason}") from error


def decode(file: BinaryIO, size: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The content of an open file of `size` bytes; raises FileError with the reason."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, LARGEST_HEADER):
        known = next(
            (what for magic, what in _FOREIGN.items() if start.startswith(magic)), "truncated or no safetensors"
        )
        raise FileError(f"{'empty' if not start else known}: expected a safetensors file, got {size} bytes of else")
    afford(_PER_BYTE * length, f"a header of {length:,} bytes")
    header = file.read(length)
    meta, table = _parse(header)
    expected = sum(_size(*entry) for entry in table.values())
    if size - 8 - length != expected:
        raise FileError(f"truncated or overlong: the tensors need {expected} bytes, the file holds {size - 8 - length}")
    if start + header != _header(meta, table):
        raise FileError("the header is not in canonical form (order, offsets, spaces or repeated names)")
    afford(3 * expected, f"tensors of {expected:,} bytes")
    body = bytearray(expected)
    if file.readinto(body) != expected:  # type: ignore[attr-defined]
        raise FileError("truncated while it was read")
    if meta["digest"] != _digest(_header({**meta, "digest": _UNSIGNED}, table), body):
        raise FileError("the digest does not match: the file is damaged or was altered")
    tensors, at = {}, 0
    for name in _ordered(table):
        code, shape = table[name]
        part = memoryview(body)[at : at + _size(code, shape)]
        if code == "BOOL" and part.tobytes().strip(b"\x00\x01"):
            raise FileError(f"tensor {name!r}: a BOOL must be 0 or 1")
        tensors[name] = from_raw(part, DTYPES[code], shape)
        at += len(part)
    return meta, tensors


def _parse(header: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...]]]]:
    """The metadata and, per tensor, dtype and shape."""
    found = _json(header, "the header")
    extra = found.pop("__metadata__", {})
    if not isinstance(extra, dict) or KEY not in extra:
        raise FileError(f"a safetensors file but not a ticket or book: it has no {KEY!r} metadata")
    if len(extra) != 1 or not isinstance(extra[KEY], str):
        raise FileError(f"expected the one metadata key {KEY!r} with text, got {names.listed(extra)}")
    meta = _json(extra[KEY].encode("utf-8", "replace"), "the metadata")
    try:
        canonical = dumps(meta) == extra[KEY]
    except (ValueError, RecursionError):
        canonical = False
    if not canonical:
        raise FileError("the metadata is not canonical JSON")
    version = meta.get("format")
    if type(version) is not int or version < 1:
        raise FileError(f"format: expected a whole number from 1, got {_shown(version)}")
    if version > FORMAT:
        raise FileError(f"format {_shown(version)} is newer than format {FORMAT}, which this version reads; upgrade")
    if not isinstance(meta.get("digest"), str):
        raise FileError("the metadata has no digest")
    return meta, {name: _entry(name, entry) for name, entry in found.items()}


def _json(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{what} is not JSON that can be read: {_shown(str(error))}") from None
    if not isinstance(found, dict):
        raise FileError(f"{what} is not a JSON mapping")
    return found


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"tensor {name!r}: expected dtype, shape and data_offsets")
    code = entry["dtype"]
    if not isinstance(code, str) or code not in DTYPES:
        raise FileError(f"tensor {name!r}: expected a dtype of {', '.join(DTYPES)}, got {_shown(code)}")
    return code, shape(entry["shape"], f"tensor {name!r}")


def shape(value: object, what: str) -> tuple[int, ...]:
    """A shape that no arithmetic on it can overflow; raises FileError."""
    good = isinstance(value, list) and len(value) <= 16 and all(type(n) is int and 0 <= n < 2**48 for n in value)
    if not good or not isinstance(value, list) or math.prod(n for n in value if n) >= 2**48:
        raise FileError(f"{what}: not a shape: {_shown(value)}")
    return tuple(value)


def _header(meta: Mapping[str, Any], table: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    header: dict[str, object] = {"__metadata__": {KEY: dumps(meta)}}
    at = 0
    for name in _ordered(table):
        code, dims = table[name]
        end = at + _size(code, dims)
        header[name] = {"dtype": code, "shape": dims, "data_offsets": [at, end]}
        at = end
    text = dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _ordered(table: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[str]:
    """Widest dtype first, so that every tensor is aligned; then by name."""
    return sorted(table, key=lambda name: (-DTYPES[table[name][0]].itemsize, name))


def _size(code: str, dims: tuple[int, ...]) -> int:
    return math.prod(dims) * DTYPES[code].itemsize


def _digest(header: bytes, body: bytes | bytearray) -> str:
    signed = hashlib.sha256(header)
    signed.update(body)
    return signed.hexdigest()


def plain(error: OneticketError) -> str:
    """Words about an untrusted file, which may quote it: short, and nothing in them that a terminal obeys."""
    words = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(error)[:1000])
    return words if len(words) <= 800 else words[:797] + "..."


def _shown(value: object) -> str:
    """A value from an untrusted file, short."""
    try:
        text = value if isinstance(value, str) else dumps(value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


_FOREIGN = {
    b"PK\x03\x04": "a zip archive (as torch.save writes)",
    b"\x80": "a pickle",
    b"\x89PNG": "a PNG image",
    b"\x1f\x8b": "a gzip archive",
}
