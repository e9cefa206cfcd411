"""The decode cache: what was once decoded, kept as safetensors. Without it everything works, more slowly."""

from __future__ import annotations

import contextlib
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from oneticket.ground import canon, disk, note
from oneticket.ground.errors import StoreError, tell
from oneticket.ticket import sealed
from oneticket.ticket.values import fingerprint

KIND = "decoded data"
MOST_HELD = 2**29  # bytes of entries that a process keeps in memory
Made = tuple[dict[str, torch.Tensor], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class CacheEntry:
    """Tensors by name, a JSON note, a digest of the tensors' names and forms, and the SHA-256 over all."""

    tensors: dict[str, torch.Tensor]
    note: object
    content: object
    sum: str


def writable(path: Path) -> bool:
    """Whether files can be written under a folder; makes the folder if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def cached(key: object, make: Callable[[], Made]) -> CacheEntry:
    """The result of `make` for this key, from the cache if intact, else made and stored; None is not stored.

    A damaged or foreign entry is reported (KeptWarning) and made again. If the folder cannot be written, nothing is
    stored, silently.
    """
    if key is None:
        return _entry(*make())
    of = canon.digest(key)
    path = disk.cache_folder() / "decoded" / f"{of}.safetensors"
    found = _read(path, of)
    if found is None:
        found = _entry(*make())
        with contextlib.suppress(OSError):
            disk.replace(path, sealed.encode(KIND, of, {"note": found.note, "sum": found.sum}, found.tensors))
    return found


def kept_note(kind: str, key: object) -> Any:
    """The JSON value stored for this key; None if there is none.

    A damaged value is reported (KeptWarning) and counts as none.
    """
    of = canon.digest(key)
    path = _note(kind, of)
    try:
        return note.read(path.read_bytes(), kind, of)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, StoreError) as error:
        tell(path, error)
        return None


def keep_note(kind: str, key: object, value: object) -> None:
    """Keep a JSON value for this key, unless it is there; a folder that cannot be written is passed over in silence."""
    of = canon.digest(key)
    path, text = _note(kind, of), note.write(kind, of, value).encode()
    with contextlib.suppress(OSError):
        if not path.is_file() or path.read_bytes() != text:
            disk.replace(path, text)


def _note(kind: str, of: str) -> Path:
    return disk.cache_folder() / kind.replace(" ", "-") / f"{of}.json"


def _read(path: Path, of: str) -> CacheEntry | None:
    """The entry of that file, from memory where it was read before and the file is untouched since."""
    with contextlib.suppress(OSError):
        mark = _mark(path)
        held = _HELD.get(path)
        if held is not None and held[0] == mark:
            _HELD.move_to_end(path)
            return held[1]
        found = _from_disk(path, of)
        if found is not None:
            _hold(path, mark, found)
        return found
    return None


def _mark(path: Path) -> tuple[int, ...]:
    """What changes when a file does."""
    seen = path.stat()
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _hold(path: Path, mark: tuple[int, ...], entry: CacheEntry) -> None:
    """Keep it in memory, the longest unused ones making room: one set is asked for in many selections."""
    _HELD[path] = mark, entry
    _HELD.move_to_end(path)
    while sum(mark[2] for mark, _ in _HELD.values()) > MOST_HELD:
        _HELD.popitem(last=False)


def _from_disk(path: Path, of: str) -> CacheEntry | None:
    try:
        head, tensors = sealed.decode(disk.read(path), KIND, of)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, StoreError) as error:
        tell(path, error)
        return None
    content = {name: [code, list(shape), head.sums[name]] for name, (code, shape) in head.tensors.items()}
    return CacheEntry(tensors=tensors, note=head.record["note"], content=content, sum=head.record["sum"])


def _entry(tensors: dict[str, torch.Tensor], note: object) -> CacheEntry:
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = fingerprint(tensors)
    return CacheEntry(tensors=tensors, note=note, content=content, sum=canon.digest([note, content]))


_HELD: OrderedDict[Path, tuple[tuple[int, ...], CacheEntry]] = OrderedDict()
