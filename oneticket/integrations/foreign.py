"""Named tensors out of files of other tools: names, kinds and sizes are checked before anything is read."""

from __future__ import annotations

import math
import os
import re
import sys
import tokenize
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from oneticket.ground.errors import FileError
from oneticket.ticket.names import listed
from oneticket.ticket.values import afford

LARGEST = 4 * 2**30
"""Bytes that the arrays of a compressed file may take."""

UNREADABLE = (
    *(OSError, ValueError, MemoryError, EOFError, SyntaxError),
    *(zipfile.BadZipFile, NotImplementedError, tokenize.TokenError),
)
"""What the readers of zip archives and of NumPy's headers say to damage."""

SHARED = 4
"""How many times its size a file's tensors may take: tied ones are stored once."""


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Name -> tensor of a `.safetensors`, a NumPy `.npz` or a torch zip file (`.pth`, `.pt`), known by its content.

    No code of a file is ever run: of torch's files tensors alone are read (`weights_only`), of NumPy's numbers alone.
    Declared sizes are held against the file's before anything is allocated. Raises FileError for a file that is
    damaged, hostile, a folder, or holds anything but named tensors.
    """
    try:
        if not os.path.isfile(path):
            raise FileError("expected a file, got a folder" if os.path.isdir(path) else "no such file")
        with open(path, "rb") as file:
            start = file.read(9)
        if start.startswith(b"PK\x03\x04"):
            return _from_zip(Path(path))
        if start[8:] == b"{":
            return _from_safetensors(path)
        known = "unknown content" if start else "empty"
        known = next((what for magic, what in _FOREIGN.items() if start.startswith(magic)), known)
        raise FileError(f"{known}; expected .safetensors, .npz, or a .pth that torch.save wrote since version 1.6")
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    except UNREADABLE as error:
        reason = (isinstance(error, OSError) and error.strerror) or _short(error)
        raise FileError(f"{path}: cannot be read: {reason}") from error


def _from_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            if "oneticket" in (opened.metadata() or {}):
                raise FileError("is a ticket or book already; load it with Ticket.load")
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise FileError(f"damaged, or no safetensors: {_short(error)}") from None


def _from_zip(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_entries(entries, size)
        names = [entry.filename for entry in entries]
        if any(name.endswith("/data.pkl") for name in names):
            _check_torch(archive, entries)
        elif names and all(name.endswith(".npy") for name in names):
            return dict(_arrays(archive, entries))
        else:
            raise FileError(f"a zip archive, but neither torch's nor NumPy's; it holds {listed(names)}")
    return _from_torch(path, size)


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    counts = Counter(entry.filename for entry in entries)
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        if counts[name] > 1 or name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name):
            raise FileError(f"the archive has an entry {name[:80]!r}: absolute, upwards or repeated names are refused")
        if entry.flag_bits & 1:
            raise FileError(f"the archive's entry {name[:80]!r} is encrypted")
    if sum(entry.compress_size for entry in entries) > size:
        raise FileError("the archive's entries overlap: they claim more bytes than the file has")


def _check_torch(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise FileError(
                f"the archive's entry {entry.filename[:80]!r} is compressed, {entry.compress_size} bytes to "
                f"{entry.file_size}; torch never does that"
            )
        # Of the other order torch would turn the bytes round where it was told to, not where they are.
        if entry.filename.endswith("/byteorder") and archive.read(entry) != sys.byteorder.encode():
            raise FileError(f"written in another byte order than this machine's {sys.byteorder}")


def _from_torch(path: Path, size: int) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - tensors only, sizes checked
    except Exception as error:  # whatever a damaged or hostile file leads torch to
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise FileError(f"asks for {asked[1]}, which is no tensor; nothing of it was run") from None
        raise FileError(f"torch cannot read it: {_short(error)}") from None
    if not isinstance(found, Mapping):
        raise FileError(f"expected a mapping from name to tensor, got {type(found).__name__}")
    total = 0
    for name, tensor in found.items():
        if not isinstance(name, str) or type(tensor) not in (Tensor, nn.Parameter):
            raise FileError(
                f"expected names and tensors alone, got {type(tensor).__name__} under {str(name)[:80]!r}; of a "
                "checkpoint with more in it, save the state dict by itself"
            )
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise FileError(f"{name[:80]!r}: expected a dense tensor, got layout {tensor.layout} on {tensor.device}")
        total += tensor.nbytes
        if tensor.nbytes > tensor.untyped_storage().nbytes() or tensor.untyped_storage().nbytes() > size:
            raise FileError(f"{name[:80]!r}: claims {tensor.numel()} numbers, which the file does not hold")
    if total > SHARED * size:
        raise FileError(f"its tensors claim {total} bytes, the file has {size}")
    return {name: tensor.detach() for name, tensor in found.items()}


def _arrays(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> Iterator[tuple[str, Tensor]]:
    declared = sum(entry.file_size for entry in entries)
    if declared > LARGEST:
        raise FileError(f"its arrays would take {declared} bytes, more than the {LARGEST} that are allowed")
    afford(2 * declared, "its arrays")
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                raise FileError(f"array {name[:80]!r}: NumPy's format {version} is not known")
            shape, fortran, dtype = _HEADERS[version](stream)
            if dtype.kind not in "biuf" or dtype.itemsize > 8:
                raise FileError(f"array {name[:80]!r}: expected truth values or numbers, got dtype {dtype}")
            whole = len(shape) <= 16 and min(shape, default=0) >= 0
            if not whole or math.prod(shape) * dtype.itemsize != entry.file_size - stream.tell():
                raise FileError(f"array {name[:80]!r}: of shape {shape}, which is not what the file holds")
            data = np.frombuffer(stream.read(), dtype=dtype).reshape(shape, order="F" if fortran else "C")
            yield name, torch.from_numpy(data.astype(dtype.newbyteorder("="), order="C"))


def _short(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return first if len(first) <= 160 else first[:157] + "..."


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_FOREIGN = {
    b"\x80": "a bare pickle, which could run code",
    b"\x93NUMPY": "a single NumPy array without a name",
    b"\x1f\x8b": "a gzip archive",
}
