"""The decode cache: what was once decoded, kept as safetensors. Without it everything works, more slowly."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from oneticket.ground import canon, disk
from oneticket.ticket.values import fingerprint

Made = tuple[dict[str, torch.Tensor], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """Tensors by name, a JSON note, what tells the tensors from others, and the SHA-256 over both."""

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


def cached(key: object, make: Callable[[], Made]) -> Entry:
    """What `make` gave for this key, from the cache where it is there and whole, else made and kept.

    An entry that fails its checksum counts as absent. A folder that cannot be written is worked around in silence.
    """
    path = disk.cache_folder() / "decoded" / f"{canon.digest(key)}.safetensors"
    found = _read(path)
    if found is None:
        tensors, note = make()
        found = _entry(tensors, note)
        with contextlib.suppress(OSError):
            _write(path, found)
    return found


def _read(path: Path) -> Entry | None:
    try:
        with safe_open(path, framework="pt") as file:
            # A copy, because safetensors maps the file, and what the file does later must not reach the data.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            kept = json.loads((file.metadata() or {})["oneticket"])
        entry, expected = _entry(tensors, kept["note"]), kept["sum"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return entry if entry.sum == expected else None


def _write(path: Path, entry: Entry) -> None:
    """Whole or not at all: written beside, then renamed in."""
    text = canon.dumps({"note": entry.note, "sum": entry.sum})
    disk.replace(path, save(entry.tensors, metadata={"oneticket": text}))


def _entry(tensors: dict[str, torch.Tensor], note: object) -> Entry:
    content = fingerprint({name: tensor.contiguous() for name, tensor in tensors.items()})
    return Entry(tensors=tensors, note=note, content=content, sum=canon.digest([note, content]))
