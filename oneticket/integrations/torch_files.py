"""Files of `torch.save`, read without unpickling: dense tensors and plain values, and nothing else.

`opcodes` executes the opcodes that plain values need. This file has the names that tensors need: nothing else is
called, nothing is imported. A tensor's size is compared with its entry in the archive before it is read, so that no
file can cause a large allocation.
"""

from __future__ import annotations

import math
import sys
import zipfile
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from oneticket.ground import archive
from oneticket.ground.errors import FileError, WrongFileError
from oneticket.ground.memory import afford
from oneticket.integrations.opcodes import Call, Machine, need
from oneticket.ticket.values import DTYPES

LARGEST_PICKLE = 16 * 2**20
"""Bytes of opcodes, enough for 50,000 tensors."""

_PER_BYTE = 150
"""Bytes of memory that a byte of opcodes may become."""


def is_torch(entries: zipfile.ZipFile) -> bool:
    """Whether an archive is one that torch wrote."""
    return any(name.endswith("/data.pkl") for name in entries.namelist())


def load(file: BinaryIO) -> Any:
    """`read` of an open file; FileError, which names no file, also for one that is no archive of torch's."""
    with archive.opened(file) as entries:
        if not is_torch(entries):
            raise WrongFileError("a zip archive, but none that torch.save wrote")
        return read(entries)


def read(entries: zipfile.ZipFile) -> Any:
    """The value in an archive of torch: parameters are tensors, sizes tuples, every mapping a dict.

    Raises FileError for what is no dense tensor or plain value, and for tensors that the archive does not hold.
    """
    pickles = [entry for entry in entries.infolist() if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise FileError(f"expected one data.pkl, got {len(pickles)}")
    folder = pickles[0].filename.removesuffix("data.pkl")
    for entry in entries.infolist():
        _check_entry(entry, folder)
    order = f"{folder}byteorder"
    if order in entries.namelist() and entries.read(order) != sys.byteorder.encode():
        raise FileError(f"written in another byte order than this machine's {sys.byteorder}")
    size = pickles[0].file_size
    if size > LARGEST_PICKLE:
        raise FileError(f"data.pkl has {size:,} bytes, more than the {LARGEST_PICKLE:,} that are read")
    afford(_PER_BYTE * size, "its data.pkl")
    tensors = _Tensors(entries, folder)
    return Machine(named=tensors.named, stored=_stored).run(entries.read(pickles[0]))


def _check_entry(entry: zipfile.ZipInfo, folder: str) -> None:
    if not entry.filename.startswith(folder):
        raise FileError(f"the archive's entry {entry.filename[:80]!r} is not under {folder[:80]!r}")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise FileError(
            f"the archive's entry {entry.filename[:80]!r} is compressed, {entry.compress_size} bytes to "
            f"{entry.file_size}; torch never does that"
        )


class Storage(NamedTuple):
    """The numbers behind tensors: their dtype, the archive's entry, and their count according to the file."""

    dtype: torch.dtype
    key: str
    claimed: int


class _Tensors:
    """The tensors of an archive, and the entries whose numbers were read."""

    def __init__(self, entries: zipfile.ZipFile, folder: str) -> None:
        self.entries, self.folder = entries, folder
        self.read: dict[str, Tensor] = {}

    def named(self, path: str) -> object:
        """What a name in the file means; FileError for one that no tensor needs, which is never looked up."""
        if path == "torch._utils._rebuild_tensor_v2":
            return Call(self.tensor)
        if path not in _NAMES:
            raise FileError(
                f"asks for {path[:100]!r}, which is no dense tensor; nothing of it was run. If you trust it, save its "
                "state dict by itself"
            )
        return _NAMES[path]

    def tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, _: Any, _hooks: Any, signs: Any = None
    ) -> Tensor:
        """A view on a storage; FileError if it is larger than the storage in the archive.

        requires_grad and hooks are left out; `signs` marks conjugated complex views.
        """
        need(type(storage) is Storage and type(size) is type(stride) is tuple and not signs)
        need(len(size) == len(stride) <= 32 and all(map(_whole, (offset, *size, *stride))))
        entry = self.entries.getinfo(f"{self.folder}data/{storage.key}")
        held, count = entry.file_size // storage.dtype.itemsize, math.prod(size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if count else -1
        if max(storage.claimed, count, last + 1) > held:
            raise FileError(f"a tensor claims {max(count, storage.claimed)} numbers, which the file does not hold")
        if not count:
            return torch.empty(size, dtype=storage.dtype, device="cpu")
        return self.numbers(entry, storage.dtype).as_strided(size, stride, offset)

    def numbers(self, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
        """An entry's numbers, read once for all the tensors that share them, which must agree on the dtype."""
        if entry.filename not in self.read:
            data = bytearray(self.entries.read(entry))
            del data[len(data) // dtype.itemsize * dtype.itemsize :]
            if dtype == torch.bool and data.strip(b"\x00\x01"):
                raise FileError("a truth value must be 0 or 1")
            self.read[entry.filename] = torch.frombuffer(data, dtype=dtype)
        need(self.read[entry.filename].dtype == dtype)
        return self.read[entry.filename]


def _stored(persistent: Any) -> Storage:
    word, dtype, key, _, claimed = persistent
    need(word == "storage" and dtype in DTYPES.values() and type(key) is str and _whole(claimed))
    return Storage(dtype, key, claimed)


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _parameter(tensor: Any, *_: Any) -> Tensor:
    need(isinstance(tensor, Tensor))
    return tensor  # type: ignore[no-any-return]


def _mapping(items: Any = None) -> dict[Any, Any]:
    need(items is None or type(items) is dict)
    return dict(items or {})


def _size(lengths: Any) -> tuple[Any, ...]:
    need(type(lengths) is tuple)
    return lengths  # type: ignore[no-any-return]


_NAMES: dict[str, torch.dtype | Call] = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    **{str(dtype): dtype for dtype in DTYPES.values()},
    "torch._utils._rebuild_parameter": Call(_parameter),
    "torch._utils._rebuild_parameter_with_state": Call(_parameter),
    "collections.OrderedDict": Call(_mapping),
    "collections.Counter": Call(_mapping),
    "torch.Size": Call(_size),
}
"""Names that a file may ask for, besides a tensor's, and their meaning. All others are refused."""
