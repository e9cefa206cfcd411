"""Image folders: `train/<class>/*.png` and `test/` or `val/` likewise, or `<class>/*.png` alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from oneticket.data.sources import LARGE, TEST, TRAIN, Raw, Source, Split, fingerprint, settle
from oneticket.ground.errors import DataError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))

Files = list[tuple[str, str]]  # (class, path), sorted


def is_folder(root: Path) -> bool:
    """Whether a folder is laid out as an image folder."""
    return any((root / name).is_dir() for name in TRAIN) or any(_images(child) for child in _folders(root))


def folder(root: Path, *, streams: bool = False) -> Source:
    """The image folder at `root`; its classes are its folders' names, sorted. Large sets stream, others if told to."""
    parts = {name: _walk(root / name) for name in (*TRAIN, *TEST) if (root / name).is_dir()} or {"all": _walk(root)}
    files = {name: found for name, found in parts.items() if found or name in TRAIN}
    named = [
        (os.path.relpath(path, root).replace(os.sep, "/"), Path(path)) for found in files.values() for _, path in found
    ]
    known, size = fingerprint(named)

    def read() -> Raw:
        first = next((files[name] for name in TRAIN if name in files), None) or next(iter(files.values()), [])
        # By folders, not by files: a class without images is a mistake, not a smaller set.
        trained = next((root / name for name in TRAIN if name in files), root)
        classes = sorted({name for name, _ in first} | {child.name for child in _folders(trained)})
        numbers = {name: number for number, name in enumerate(classes)}
        for split, found in files.items():
            strange = sorted({name for name, _ in found} - set(classes))
            if strange:
                raise DataError(f"{root}: {split} has class {', '.join(strange[:5])}, which has no training images")
        splits = {
            split: Split(
                images=[path for _, path in found],
                labels=np.array([numbers[name] for name, _ in found], dtype=np.int64),
            )
            for split, found in files.items()
        }
        return settle(splits, classes, str(root))

    return Source(where=str(root), fingerprint=known, streams=streams or size > LARGE, read=read)


def _walk(root: Path) -> Files:
    return [(child.name, image) for child in _folders(root) for image in _images(child)]


def _folders(root: Path) -> list[Path]:
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(entry.path for entry in entries if os.path.splitext(entry.name)[1].lower() in SUFFIXES)
