"""Sealed files: tensors that oneticket keeps for itself, with a note of what they are of, every bit under a digest.

The file is safetensors with one metadata key, a `ground/note`, whose digest is over the address, the record, and name,
dtype, shape and SHA-256 of every tensor. So the head alone can be trusted, without the tensors behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oneticket.ground import note
from oneticket.ground.errors import FileError, StoreError
from oneticket.ticket import header
from oneticket.ticket.header import Table

if TYPE_CHECKING:
    from torch import Tensor

KEY = "oneticket-sealed"
CHECKPOINT = "checkpoint"
"""The kind of a training's checkpoint, which a store keeps too."""

EARLIER = ("outcome", "run", "oneticket")
"""Metadata keys under which format 1 kept store entries, checkpoints and decoded data."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The checked head of a sealed file, before its tensors.

    `record`: JSON. `digest`: of all content. `tensors`: dtype and shape by name. `sums`: SHA-256 of each one's bytes.
    `length`: the bytes of the head; `size`: those of the whole file.
    """

    record: Mapping[str, Any]
    digest: str
    tensors: Table
    sums: Mapping[str, str]
    length: int
    size: int


def encode(kind: str, of: str, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file of that kind, of the thing at that address. The same content has the same bytes.

    >>> import torch
    >>> data = encode("colour", "sky", {"a": 1}, {"t": torch.ones(2)})
    >>> decode(data, "colour", "sky")[1]["t"].tolist(), head(data, "colour", "sky").record
    ([1.0, 1.0], {'a': 1})
    """
    from oneticket.ticket.values import body, fingerprint, table_of

    held = {name: value.detach().contiguous() for name, value in tensors.items()}
    text = note.write(kind, of, {"record": dict(record), "tensors": fingerprint(held)})
    return header.compose({KEY: text}, table_of(held)) + body(held)


def length(start: bytes) -> int:
    """How many bytes from the beginning make up the head; 0 if these cannot be the first of a sealed file."""
    needed = 8 + int.from_bytes(start[:8], "little")
    return needed if len(start) >= 8 and needed <= header.LARGEST else 0


def head(start: bytes | bytearray, kind: str, of: str) -> Head:
    """Read the head from a file's first `length` bytes, or more; raises StoreError with the reason if it is not whole.

    It is then that of this kind and this thing, and every bit of it as it was written.
    """
    end = length(bytes(start[:8]))
    if not 0 < end <= len(start):
        raise StoreError("it is empty" if not start else "it is cut short, or no file of oneticket's")
    try:
        metadata, entries = header.parse(bytes(start[8:end]))
        text = _text(metadata)
        said = note.read(text, kind, of)
        table = header.table(entries)
        header.check(bytes(start[:end]), {KEY: text}, table)
        sums = {name: str(entry[2]) for name, entry in said["tensors"].items()}
        if {name: (entry[0], tuple(entry[1])) for name, entry in said["tensors"].items()} != dict(table):
            raise FileError("its table of tensors is not the one that was written")
    except FileError as error:
        raise StoreError(f"its head is damaged: {error}") from error
    size = end + header.total(table)
    return Head(record=said["record"], digest=note.sum_of(text), tensors=table, sums=sums, length=end, size=size)


def decode(data: bytes | bytearray, kind: str, of: str) -> tuple[Head, dict[str, Tensor]]:
    """The content of a whole file; raises StoreError with the reason if one bit of it is not as it was written.

    The tensors of a bytearray lie in it, those of bytes in a copy.
    """
    import torch

    from oneticket.ticket.values import DTYPES

    def tensor(part: memoryview, code: str, shape: tuple[int, ...]) -> Tensor:
        dtype = DTYPES[code]
        return (
            torch.frombuffer(part, dtype=dtype).reshape(shape)
            if len(part)
            else torch.empty(shape, dtype=dtype, device="cpu")
        )

    said, parts = check(bytearray(data) if isinstance(data, bytes) else data, kind, of)
    return said, {name: tensor(part, *said.tensors[name]) for name, part in parts.items()}


def check(data: bytes | bytearray, kind: str, of: str) -> tuple[Head, dict[str, memoryview]]:
    """The head of a whole file and each tensor's bytes, as `decode` checks them, without making tensors."""
    said = head(data, kind, of)
    if len(data) != said.size:
        raise StoreError(f"it is cut short or overlong: {len(data):,} bytes, where its head says {said.size:,}")
    parts = header.parts(memoryview(data)[said.length :], said.tensors)
    for name, part in parts.items():
        if hashlib.sha256(part).hexdigest() != said.sums[name]:
            raise StoreError(f"its content has another digest than it says: tensor {name!r} is damaged")
    return said, parts


def _text(metadata: object) -> str:
    """The note in a file's metadata."""
    found = metadata if isinstance(metadata, dict) else {}
    if KEY not in found:
        known = next((key for key in EARLIER if key in found), None)
        raise StoreError("an earlier version of oneticket wrote it" if known else "no file that oneticket keeps")
    text = found[KEY]
    if len(found) != 1 or not isinstance(text, str):
        raise StoreError("its head is damaged: more than one text in its metadata")
    return text
