"""Named tensors out of files of other tools: names, kinds and sizes are checked before anything is read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from oneticket.data import npz
from oneticket.ground import archive
from oneticket.ground.errors import FileError, WrongFileError
from oneticket.integrations import torch_files
from oneticket.integrations.checkpoint import Checkpoint, checkpoint
from oneticket.ticket import header

LARGEST = 4 * 2**30
"""Bytes that the arrays of a compressed file may take."""

SHARED = 4
"""How many times its size a file's tensors may take: tied ones are stored once."""


def read_checkpoint(path: str | os.PathLike[str], *, key: str | None = None) -> Checkpoint:
    """The state dict of a `.safetensors`, a NumPy `.npz` or a torch zip file (`.pth`, `.pt`), known by its content.

    Of a checkpoint with more in it, the entry `key`, or the one that training scripts use (`checkpoint.checkpoint`).
    No code of a file is ever run: nothing is unpickled (`torch_files`), and of NumPy's files numbers alone are read.
    Declared sizes are held against the file's before anything is allocated. Raises FileError for a file that is
    damaged, hostile, a folder, or holds anything but named tensors.
    """
    try:
        if not os.path.isfile(path):
            there = "is not a regular file" if os.path.exists(path) else "no such file"
            raise WrongFileError("expected a file, got a folder" if os.path.isdir(path) else there)
        with open(path, "rb") as file:
            start = file.read(9)
            if start.startswith(b"PK\x03\x04"):
                return _from_zip(file, os.fstat(file.fileno()).st_size, key)
        if start[8:] == b"{":
            return checkpoint(_from_safetensors(path))
        known = next((what for magic, what in _FOREIGN.items() if start.startswith(magic)), header.foreign(start))
        sort, known = (WrongFileError, known) if known else (FileError, "unknown content" if start else "empty")
        raise sort(f"{known}; expected .safetensors, .npz, or a .pth that torch.save wrote since version 1.6")
    except FileError as error:
        raise type(error)(f"{path}: {error}") from None
    except (OSError, ValueError, MemoryError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or _short(error)
        raise FileError(f"{path}: cannot be read: {reason}") from error


def _from_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            if "oneticket" in (opened.metadata() or {}):
                raise WrongFileError("is a ticket or book already; load it with Ticket.load")
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise FileError(f"damaged, or no safetensors: {_short(error)}") from None


def _from_zip(file: BinaryIO, size: int, key: str | None) -> Checkpoint:
    with archive.opened(file) as entries:
        if torch_files.is_torch(entries):
            return _from_torch(entries, size, key)
        return checkpoint(_from_numpy(entries))


def _from_torch(entries: zipfile.ZipFile, size: int, key: str | None) -> Checkpoint:
    found = torch_files.read(entries)
    if not isinstance(found, Mapping):
        raise WrongFileError(f"expected a mapping from name to tensor, got {type(found).__name__}")
    made, total = checkpoint(found, key), 0
    for name, tensor in made.tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise FileError(f"expected names and tensors, got {type(tensor).__name__} under {str(name)[:80]!r}")
        total += tensor.nbytes
    if total > SHARED * size:
        raise FileError(f"its tensors claim {total} bytes, the file has {size}")
    return made


def _from_numpy(entries: zipfile.ZipFile) -> dict[str, Tensor]:
    names = npz.names(entries)
    declared = sum(entry.file_size for entry in entries.infolist())
    if declared > LARGEST:
        raise FileError(f"its arrays would take {declared} bytes, more than the {LARGEST} that are allowed")
    arrays = npz.read(entries, names)
    return {name: torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape)) for name, array in arrays.items()}


def _short(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return first if len(first) <= 160 else first[:157] + "..."


_FOREIGN = {
    b"\x80": "a bare pickle, which could run code",
    b"\x93NUMPY": "a single NumPy array without a name",
}
