"""Image folders as sets: what `layout` found in them, with labels by class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from oneticket.data.images.layout import layout
from oneticket.data.images.scan import ScannedFolder
from oneticket.data.reading import summed
from oneticket.data.roles import role
from oneticket.data.settle import settle
from oneticket.data.sources import LARGE, DataSource, Raw, Split, fingerprint


def folder(root: ScannedFolder, *, streams: bool = False) -> DataSource:
    """The image folder at `root`; its classes are its folders' names, sorted. Large sets stream, others if asked.

    Raises DataError for folders that can be read in two ways, or in none.
    """
    found = layout(root)
    numbers = {name: number for number, name in enumerate(found.classes)}
    named = [(_under(root, path), Path(path)) for files in found.splits.values() for _, path in files]
    known, size = fingerprint(named)

    def read() -> Raw:
        splits = {
            split: Split(
                inputs=[path for _, path in files],
                targets=np.array([numbers[name] for name, _ in files], dtype=np.int64),
                origin=found.origins[split],
            )
            for split, files in found.splits.items()
        }
        return settle(splits, found.classes, str(root.path))

    return DataSource(
        where=str(root.path),
        fingerprint=known,
        streams=streams or size > LARGE,
        read=read,
        left_out=summed((reason, _under(root, path)) for reason, path in found.others),
        notes=(*(f"{name}/ holds no images that can be read" for name in found.bare), *_beside(root.path)),
    )


def _beside(root: Path) -> tuple[str, ...]:
    """A remark that only one split was named although others are next to it."""
    here = root.absolute()
    if role(here.name) != "train":
        return ()
    others = [each.name for each in sorted(here.parent.iterdir()) if each.is_dir() and role(each.name)]
    tests = [name for name in others if role(name) != "train"]
    return (f"{tests[0]}/ beside it is not read; name the folder of both to take it for test",) if tests else ()


def _under(root: ScannedFolder, path: str) -> str:
    return os.path.relpath(path, root.path).replace(os.sep, "/")
