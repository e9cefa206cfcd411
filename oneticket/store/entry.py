"""An entry: the one file of an outcome, as safetensors whose metadata holds the record and the digest of it all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from oneticket.ground import canon
from oneticket.store.step import Outcome
from oneticket.ticket.values import fingerprint

GUESS = 16 * 2**10  # bytes that hold most heads, so that one read is enough
MOST = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Head:
    """What an entry says of itself, before its tensors are read.

    `tensors`: dtype and shape by name. `size`: the length in bytes of the file, if it was not cut short.
    """

    record: Mapping[str, Any]
    digest: str
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    size: int


def encode(outcome: Outcome) -> tuple[bytes, str]:
    """The bytes of an outcome's file, and its digest: over the record, and names, types, shapes and values of tensors.

    >>> data, digest = encode(Outcome(record={"a": 1}, tensors={}))
    >>> decode(data).record, head(data).digest == digest
    ({'a': 1}, True)
    """
    tensors = {name: value.contiguous() for name, value in outcome.tensors.items()}
    digest = _digest(outcome.record, tensors)
    return to_bytes(tensors, {"outcome": canon.dumps({"record": dict(outcome.record), "digest": digest})}), digest


def decode(data: bytes) -> Outcome:
    """The outcome in a whole file; ValueError if its content is not what its digest says."""
    said = head(data)
    try:
        tensors = from_bytes(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if said.digest != _digest(said.record, tensors):
        raise ValueError("its content has another digest than it says")
    return Outcome(record=said.record, tensors=tensors)


def length(start: bytes) -> int:
    """How many bytes from the beginning make up the head; 0 if these cannot be the first of an entry."""
    needed = 8 + int.from_bytes(start[:8], "little")
    return needed if len(start) >= 8 and needed <= MOST else 0


def head(start: bytes) -> Head:
    """Read the head from a file's first `length` bytes, or more; ValueError if they are damaged."""
    end = length(start)
    if not 0 < end <= len(start):
        raise ValueError("it is cut short, or no entry at all")
    try:
        table = json.loads(start[8:end])
        told = json.loads(table.pop("__metadata__")["outcome"])
        ends = [end + of["data_offsets"][1] for of in table.values()]
        tensors = {name: (str(of["dtype"]), tuple(of["shape"])) for name, of in table.items()}
        return Head(record=dict(told["record"]), digest=str(told["digest"]), tensors=tensors, size=max([end, *ends]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its head cannot be read ({error})") from error


def _digest(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    return canon.digest([dict(record), fingerprint(tensors)])
