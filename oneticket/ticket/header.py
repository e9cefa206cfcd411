"""The header of a safetensors file: the only place that writes and reads it, for every kind of file.

Equal content gives equal bytes, for any version of any library: canonical JSON, the widest dtype first, no gaps. The
reader accepts only the bytes that the writer would have written. It needs no torch: `values` makes tensors of bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from oneticket.ground.canon import dumps
from oneticket.ground.errors import FileError, WrongFileError
from oneticket.ground.memory import afford

Table = Mapping[str, tuple[str, tuple[int, ...]]]
"""Per tensor its dtype's code and its shape."""

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""The codes of the dtypes that a file may hold, and the bytes of one value."""

LARGEST = 64 * 2**20
"""Bytes that a header may have."""

_PER_BYTE = 100
"""Bytes that a byte of JSON may take while it is read, as objects and as text: up to 71 were measured."""


def compose(metadata: Mapping[str, str], table: Table) -> bytes:
    """The bytes before the tensors: the length of the header, and the header."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for name in ordered(table):
        code, dims = table[name]
        end = at + size(code, dims)
        header[name] = {"dtype": code, "shape": dims, "data_offsets": [at, end]}
        at = end
    text = dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def length(start: bytes, most: int) -> int:
    """How long the header is after its first 8 bytes, in a file of `most` bytes.

    Raises WrongFileError if another kind of file begins so, and says which; FileError for any other that cannot begin
    such a file, and if memory lacks for it.
    """
    found = int.from_bytes(start[:8], "little")
    if len(start) < 8 or found > min(most - 8, LARGEST):
        if known := foreign(start):
            raise WrongFileError(f"{known}: not a ticket or book")
        raise FileError("truncated or no safetensors header: not a ticket or book" if start else "the file is empty")
    afford(_PER_BYTE * found, f"a header of {found:,} bytes")
    return found


def foreign(start: bytes) -> str:
    """Which other kind of file begins so, in words, if that is known; else an empty text.

    >>> foreign(b"title = "), foreign(bytes(8))
    ('a text file', '')
    """
    # Of a header's length, the fourth byte is at most 4: no beginning of a ticket or book is text.
    text = len(start) >= 4 and all(32 <= one < 127 or one in b"\t\n\r" for one in start)
    return next((what for magic, what in _FOREIGN.items() if start.startswith(magic)), "a text file" if text else "")


def parse(header: bytes) -> tuple[object, dict[str, Any]]:
    """What stands under `__metadata__`, and the entry of each tensor, both unchecked; FileError if it is no JSON."""
    found = json_of(header, "the header")
    return found.pop("__metadata__", {}), found


def table(entries: Mapping[str, Any]) -> Table:
    """Dtype and shape per tensor; raises FileError for what is none."""
    return {name: _entry(name, entry) for name, entry in entries.items()}


def check(start: bytes, metadata: Mapping[str, str], table: Table) -> None:
    """Whether a file begins with exactly what the writer would have written; raises FileError."""
    if start != compose(metadata, table):
        raise FileError("the header is not in canonical form (order, offsets, spaces or repeated names)")


def total(table: Table) -> int:
    """The bytes of all tensors."""
    return sum(size(*entry) for entry in table.values())


def parts(body: bytes | bytearray | memoryview, table: Table) -> dict[str, memoryview]:
    """The window on each tensor's bytes."""
    found, at = {}, 0
    for name in ordered(table):
        end = at + size(*table[name])
        found[name] = memoryview(body)[at:end]
        at = end
    return found


def json_of(text: bytes, what: str) -> dict[str, Any]:
    """A JSON mapping in which no name is repeated; raises FileError."""
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{what} is not JSON that can be read: {shown(str(error))}") from None
    if not isinstance(found, dict):
        raise FileError(f"{what} is not a JSON mapping")
    return found


def shape(value: object, what: str) -> tuple[int, ...]:
    """A shape that no arithmetic on it can overflow; raises FileError."""
    good = isinstance(value, list) and len(value) <= 16 and all(type(n) is int and 0 <= n < 2**48 for n in value)
    if not good or not isinstance(value, list) or math.prod(n for n in value if n) >= 2**48:
        raise FileError(f"{what}: not a shape: {shown(value)}")
    return tuple(value)


def ordered(table: Table) -> list[str]:
    """Widest dtype first, so that every tensor is aligned; then by name."""
    return sorted(table, key=lambda name: (-WIDTHS[table[name][0]], name))


def size(code: str, dims: tuple[int, ...]) -> int:
    """The bytes of one tensor."""
    return math.prod(dims) * WIDTHS[code]


def shown(value: object) -> str:
    """A value from an untrusted file, short."""
    try:
        text = value if isinstance(value, str) else dumps(value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"tensor {name!r}: expected dtype, shape and data_offsets")
    code = entry["dtype"]
    if not isinstance(code, str) or code not in WIDTHS:
        raise FileError(f"tensor {name!r}: expected a dtype of {', '.join(WIDTHS)}, got {shown(code)}")
    return code, shape(entry["shape"], f"tensor {name!r}")


_FOREIGN = {
    b"PK\x03\x04": "a zip archive (as torch.save writes)",
    b"\x80": "a pickle",
    b"\x89PNG": "a PNG image",
    b"\x1f\x8b": "a gzip archive",
}
