"""Images with labels from a table next to them: `metadata.csv`, `.jsonl` or `.parquet`, as on the Hub.

The table has the columns `file_name`, relative to its folder, and `label`. Source: the Hub's ImageFolder layout,
https://huggingface.co/docs/datasets/image_dataset.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from oneticket.data.images.labels import LABELS, numbered
from oneticket.data.images.layout import set_folder, split_folders
from oneticket.data.images.scan import ScannedFolder
from oneticket.data.reading import summed
from oneticket.data.roles import role
from oneticket.data.settle import settle
from oneticket.data.sources import LARGE, DataSource, Raw, Split, fingerprint
from oneticket.ground.canon import digest
from oneticket.ground.errors import DataError

NAME, SPLIT = "file_name", "split"
ALL = "all"  # the split of a folder without splits


def by_metadata(root: ScannedFolder, *, streams: bool = False) -> DataSource | None:
    """The set that the metadata of a folder, or of its splits, describe; None where class folders do.

    Raises DataError for metadata that cannot be read, list an image twice, list a missing one, or contradict the class
    folders.
    """
    inner = set_folder(root)
    tables = {path: _table(path) for folder in (inner, *split_folders(inner)) for path in folder.metadata}
    tables = {path: table for path, table in tables.items() if NAME in table.column_names}
    if not tables:
        return None
    there = sorted(inner.every_image())
    rows = _rows(tables, set(there), str(root.path))
    _check_parts(inner, tables, rows)
    label = next((name for name in LABELS if all(name in table.column_names for table in tables.values())), None)
    folders = _class_folders(inner, list(rows))
    if label is None and folders:
        return None
    if label is None:
        first, table = next(iter(tables.items()))
        raise DataError(
            f"{first}: no label column ({', '.join(LABELS)}); its columns are {', '.join(table.column_names)}"
        )
    if folders and _agree(folders, {path: table[label][at].as_py() for path, (table, at) in rows.items()}, root):
        return None
    return _source(root, inner, rows, label, list(tables), streams=streams)


_Rows = dict[str, tuple[pa.Table, int]]  # image path: the table that lists it, and its row there


def _source(
    root: ScannedFolder, inner: ScannedFolder, rows: _Rows, label: str, files: list[Path], *, streams: bool
) -> DataSource:
    images = list(rows)  # in the order of the table, as the Hub has them
    names = [_under(root, path) for path in (*map(str, files), *images)]
    known, size = fingerprint(list(zip(names, [*files, *map(Path, images)], strict=True)))
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]  # of a large set, too
    unlisted = [("not in the metadata", path) for path in inner.every_image() if path not in rows]
    lost = [*unlisted, *(each for each in root.every_other() if Path(each[1]) not in files)]

    def read() -> Raw:
        where = str(root.path)
        parts = _splits(inner, images, where)
        columns = {split: _column([rows[path] for path in found], label) for split, found in parts.items()}
        classes, labels = numbered(columns, None, f"{where}: column {label!r}")
        origins = {split: "its images" if split == ALL else f"{split}/" for split in parts}
        splits = {
            split: Split(inputs=found, targets=labels[split], origin=origins[split]) for split, found in parts.items()
        }
        note = f"Labels are the column {label!r} of {' and '.join(names[: len(files)])}"
        return settle(splits, classes, where, notes=[note])

    return DataSource(
        where=str(root.path),
        fingerprint=digest([known, sums]),
        streams=streams or size > LARGE,
        read=read,
        left_out=summed((reason, _under(root, path)) for reason, path in lost),
    )


def _table(path: Path) -> pa.Table:
    try:
        table = READERS[path.suffix](path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: cannot be read: {str(error).splitlines()[0]}; mend it, or move it elsewhere"
        ) from None
    return table


def _csv(path: Path) -> pa.Table:
    # Names are texts even where all are numbers; an empty field is no label, but NA may be a class.
    convert = pyarrow.csv.ConvertOptions(column_types={NAME: pa.string()}, null_values=[""], strings_can_be_null=True)
    return pyarrow.csv.read_csv(path, convert_options=convert)


def _rows(tables: Mapping[Path, pa.Table], there: set[str], where: str) -> _Rows:
    found: _Rows = {}
    for path, table in tables.items():
        for at, name in enumerate(table[NAME].to_pylist()):
            image = os.path.normpath(path.parent / str(name))
            if image not in there:
                raise DataError(f"{path}: lists {name}, which is no image under {where}; add it, or take out the line")
            if image in found:
                raise DataError(f"{path}: lists {name}, which is listed already; keep one line for each image")
            found[image] = table, at
    if not found:
        raise DataError(f"{next(iter(tables))}: lists no image; expected a line for each")
    return found


def _check_parts(inner: ScannedFolder, tables: Mapping[Path, pa.Table], rows: Collection[str]) -> None:
    """Raise DataError where a part of the set would be lost: a split without a line, or a column that names splits."""
    splits = split_folders(inner)
    for folder in splits:
        if (role(folder.name) == "train" or folder.filled) and not any(path in rows for path in folder.every_image()):
            raise DataError(
                f"{next(iter(tables))}: lists no image of {folder.name}/, which is either a part of the set (then list "
                f"its images too, or remove the metadata if folders are the classes) or not (then move it elsewhere)"
            )
    for path, table in tables.items():
        named = set(table[SPLIT].to_pylist()) if SPLIT in table.column_names and not splits else set()
        if len(named) > 1 and any(role(str(name)) for name in named):
            raise DataError(
                f"{path}: the column {SPLIT!r} names parts of the set, which are read from folders alone; put the "
                "images of each into a folder of that name, or take out the column, so that a fifth of all is held out"
            )


def _splits(inner: ScannedFolder, images: list[str], where: str) -> dict[str, list[str]]:
    """The images of each split folder; all of them where there is none."""
    splits = {folder.name: set(folder.every_image()) for folder in split_folders(inner)}
    found = {name: [path for path in images if path in inside] for name, inside in splits.items()}
    found = {name: paths for name, paths in found.items() if paths}
    outside = set(images).difference(*found.values())
    if found and outside:
        raise DataError(
            f"{where}: the metadata list images in {' and '.join(found)} and others, as {min(outside)}; "
            "put each into the folder of its split"
        )
    return found or {ALL: images}


def _class_folders(inner: ScannedFolder, images: list[str]) -> dict[str, str]:
    """The class folder that each image lies in; nothing where not all do, or all in the same."""
    tops: dict[str, str] = {}
    for around in (inner, *split_folders(inner)):
        for folder in around.filled:
            tops |= dict.fromkeys(folder.every_image(), folder.name)
    splits = {folder.name for folder in split_folders(inner)}
    found = {path: tops.get(path, "") for path in images}
    sound = all(name and name not in splits for name in found.values()) and len(set(found.values())) > 1
    return found if sound else {}


def _agree(folders: Mapping[str, str], labels: Mapping[str, Any], root: ScannedFolder) -> bool:
    """Whether both make the same classes; raises DataError, with an image on which they differ."""
    pairs = {(folders[path], labels[path]) for path in folders}
    if len(pairs) == len({name for name, _ in pairs}) == len({label for _, label in pairs}):
        return True
    seen: dict[str, Any] = {}
    path = next((path for path in sorted(folders) if seen.setdefault(folders[path], labels[path]) != labels[path]), "")
    path = path or min(folders)
    raise DataError(
        f"{root.path}: {_under(root, path)} lies in the class folder {folders[path]}, but the metadata label it "
        f"{labels[path]!r}; remove the metadata if the folders are the classes, or put the images into one folder"
    )


def _column(rows: list[tuple[pa.Table, int]], label: str) -> pa.ChunkedArray:
    try:
        return pa.chunked_array([pa.array([table[label][at].as_py() for table, at in rows])])
    except pa.ArrowException as error:
        raise DataError(f"column {label!r} of the metadata is not of one kind: {error}; make it one") from None


def _under(root: ScannedFolder, path: str) -> str:
    return os.path.relpath(path, root.path).replace(os.sep, "/")


READERS = {".csv": _csv, ".jsonl": lambda path: pyarrow.json.read_json(path), ".parquet": pq.read_table}
