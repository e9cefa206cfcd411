"""What tickets and books are made of: named tensors and JSON facts, checked and copied."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from oneticket.ground.canon import dumps
from oneticket.ground.errors import FileError, PruneError, SpecError, WrongPruneError
from oneticket.ticket import names
from oneticket.ticket.header import Table, ordered


def held(tensors: Mapping[str, Tensor], what: str) -> Mapping[str, Tensor]:
    """A read-only mapping, sorted by name, of contiguous CPU copies.

    Raises PruneError for a name, type, dtype or layout that a file cannot hold, and for values that are not finite.
    """
    if not isinstance(tensors, Mapping):
        raise WrongPruneError(f"{what}: expected a mapping from name to tensor, got {type(tensors).__name__}")
    for name, tensor in tensors.items():
        where = f"{what} {names.check(name, what)!r}"
        if not isinstance(tensor, Tensor):
            raise WrongPruneError(f"{where}: expected a tensor, got {type(tensor).__name__}")
        if tensor.dtype not in CODES or tensor.layout != torch.strided or tensor.is_meta:
            raise WrongPruneError(
                f"{where}: expected a dense tensor with values, of dtype {', '.join(map(str, CODES))}, "
                f"got {tensor.dtype}, layout {tensor.layout}, on {tensor.device}"
            )
        if tensor.is_floating_point() and tensor.numel() and not all(map(torch.isfinite, tensor.detach().aminmax())):
            raise PruneError(f"{where}: holds NaN or infinity; a network cannot start from it")
    return MappingProxyType({name: copied(tensors[name]) for name in sorted(tensors)})


def copied(tensor: Tensor) -> Tensor:
    """A contiguous CPU copy, cut off from autograd."""
    return tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def view(tensor: Tensor) -> memoryview:
    """A window on the bytes of a contiguous CPU tensor, which must outlive it; without NumPy, for this floor's sake.

    >>> tensor = torch.tensor([1, 2], dtype=torch.uint8)
    >>> bytes(view(tensor))
    b'\\x01\\x02'
    """
    return memoryview((ctypes.c_ubyte * tensor.nbytes).from_address(tensor.data_ptr()) if tensor.numel() else b"")


def raw(tensor: Tensor) -> bytes:
    """A copy of the bytes of a contiguous CPU tensor."""
    return bytes(view(tensor))


def from_raw(data: bytes | bytearray | memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A new tensor with a copy of these bytes."""
    return (
        torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
        if data
        else torch.empty(shape, dtype=dtype, device="cpu")
    )


def table_of(tensors: Mapping[str, Tensor]) -> Table:
    """The header's entry for these tensors, which must have a dtype in `DTYPES`."""
    return {name: (CODES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}


def body(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of contiguous CPU tensors, in the order of their header."""
    return b"".join(raw(tensors[name]) for name in ordered(table_of(tensors)))


def tensor(name: str, part: memoryview, table: Table) -> Tensor:
    """A tensor of these bytes; raises FileError for a BOOL that is neither 0 nor 1."""
    code, dims = table[name]
    if code == "BOOL" and part.tobytes().strip(b"\x00\x01"):
        raise FileError(f"tensor {name!r}: a BOOL must be 0 or 1")
    return from_raw(part, DTYPES[code], dims)


def fingerprint(tensors: Mapping[str, Tensor]) -> dict[str, list[object]]:
    """Per name: dtype, shape and SHA-256 of the bytes; the tensors' part of an identity."""
    return {
        name: [CODES[tensor.dtype], list(tensor.shape), hashlib.sha256(view(tensor)).hexdigest()]
        for name, tensor in tensors.items()
    }


def facts(value: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """A copy of a JSON mapping as read back from JSON text.

    Raises SpecError for values that JSON does not have, or that are nested more than `DEEPEST` deep.
    """
    if not isinstance(value, Mapping):
        raise SpecError(f"{what}: expected a mapping that JSON can hold, got {type(value).__name__}")
    try:
        plain: dict[str, Any] = json.loads(dumps(_plain(value)))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{what}: expected plain, finite JSON values: {error}") from None
    return MappingProxyType(plain)


def rebuilt(thing: Any) -> tuple[partial[Any], tuple[()]]:
    """How `copy` and other processes get a frozen value that holds read-only mappings: by its constructor."""
    make: Callable[..., Any] = type(thing)
    return partial(make, **{field.name: _open(getattr(thing, field.name)) for field in fields(thing)}), ()


def _open(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_open(inner) for inner in value)
    return dict(value) if isinstance(value, MappingProxyType) else value


def _plain(value: object, depth: int = 0) -> object:
    """Read-only mappings as dicts, for the JSON writer; names that are not text are refused, not renamed."""
    if depth > DEEPEST and isinstance(value, Mapping | list | tuple):
        raise ValueError(f"nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"names must be text, got {next(key for key in value if not isinstance(key, str))!r}")
        return {key: _plain(inner, depth + 1) for key, inner in value.items()}
    return [_plain(inner, depth + 1) for inner in value] if isinstance(value, list | tuple) else value


DEEPEST = 64
"""How deep mappings and lists may lie within a field; Python's own bound is another in each of its versions."""

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES: dict[torch.dtype, str] = {dtype: code for code, dtype in DTYPES.items()}
