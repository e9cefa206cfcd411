"""Sets kept as Arrow tables: Parquet files laid out as on the Hub, and what the `datasets` library loads."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oneticket.data import hub
from oneticket.data.images.decode import Item
from oneticket.data.images.labels import LABELS, numbered
from oneticket.data.images.scan import METADATA
from oneticket.data.reading import LeftOut
from oneticket.data.roles import role, split_of
from oneticket.data.settle import settle
from oneticket.data.sources import LARGE, DataSource, Raw, Split, fingerprint
from oneticket.ground.errors import DataError

IMAGES = ("image", "img")
"""What the column of images is called, where there are several."""


def files_of(root: Path) -> dict[str, list[Path]]:
    """The Parquet files of a folder by their splits: `<split>-*.parquet`, or `<split>/*.parquet`."""
    files: dict[str, list[Path]] = {}
    for path in sorted(root.glob("*.parquet")):
        if path.name not in METADATA:
            files.setdefault(split_of(path.stem), []).append(path)
    if not files:
        for folder in sorted(child for child in root.iterdir() if child.is_dir() and role(child.name)):
            if found := sorted(folder.glob("*.parquet")):
                files[folder.name] = found
    return files


def parquet(root: Path, files: Mapping[str, list[Path]], *, streams: bool = False) -> DataSource:
    """The Parquet files of one folder, by split. Large sets go through an Arrow copy that the cache keeps."""
    read_files = {path for found in files.values() for path in found}
    known, size = fingerprint([(path.relative_to(root).as_posix(), path) for found in files.values() for path in found])

    def read() -> Raw:
        if size > LARGE:
            return _raw(hub.arrow(files), str(root))
        return _raw({split: _table(found) for split, found in files.items()}, str(root))

    return DataSource(
        where=str(root),
        fingerprint=known,
        streams=streams or size > LARGE,
        read=read,
        left_out=_beside(root, read_files),
    )


def _beside(root: Path, read: Collection[Path]) -> tuple[LeftOut, ...]:
    """The other files of the folder; raises DataError where one of them may be a part of the set."""
    others = [path for path in sorted(root.rglob("*")) if path.is_file() and path not in read]
    shown = [path.relative_to(root).as_posix() for path in others if not path.name.startswith(".")]
    tables = [name for name in shown if name.lower().endswith(".parquet") and Path(name).name not in METADATA]
    if tables:
        raise DataError(
            f"{root}: {tables[0]} lies beside {min(read).relative_to(root).as_posix()}, and is either a part of the "
            "set (then put all into one folder, as train-0.parquet and test-0.parquet) or not (then move it elsewhere)"
        )
    return (LeftOut(count=len(shown), reason="beside the Parquet files", example=shown[0]),) if shown else ()


def loaded(parts: Mapping[str, Any], files: Sequence[Path], where: str, *, streams: bool = False) -> DataSource:
    """A set that the `datasets` library has loaded: its splits by name, and the files that its content is known by."""
    known, size = fingerprint([(path.name, path) for path in files])
    return DataSource(
        where=where,
        fingerprint=known,
        streams=streams or size > LARGE,
        read=lambda: _raw(parts, where, in_memory=size <= LARGE),
    )


def _table(files: Sequence[Path]) -> pa.Table:
    path = files[0]
    try:
        tables = [_sound_table(path := file) for file in files]
        return pa.concat_tables(tables)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read this Parquet file: {error}; fetch it again") from None


def _sound_table(path: Path) -> pa.Table:
    """A file's table; raises what pyarrow raises, also for texts and names that are no UTF-8."""
    table = pq.read_table(path)
    table.validate(full=True)
    return table.select(table.schema.names)


def _raw(parts: Mapping[str, Any], where: str, *, in_memory: bool = False) -> Raw:
    """Splits, each a pyarrow table or a `datasets.Dataset`, as a checked set."""
    if not parts:
        raise DataError(f"{where}: holds no split; expected at least train")
    tables = {split: part if isinstance(part, pa.Table) else part.data.table for split, part in parts.items()}
    features = _features(tables, parts, where)
    image, label, notes = _columns(tables, features, where)
    names: list[Any] | None = features.get(label, {}).get("names")
    classes, labels = numbered(
        {split: table[label] for split, table in tables.items()}, names, f"{where}: column {label!r}"
    )
    splits = {}
    for split, part in parts.items():
        items = _items(tables[split][image]) if in_memory or isinstance(part, pa.Table) else _Rows(part, image)
        splits[split] = Split(inputs=items, targets=labels[split], origin=f"split {split}")
    return settle(splits, classes, where, notes=notes)


_Features = dict[str, dict[str, Any]]


def _features(tables: Mapping[str, pa.Table], parts: Mapping[str, Any], where: str) -> _Features:
    """The Hub's description of each column, where there is one; raises DataError if the splits name other classes."""
    found = {split: _described(tables[split].schema, part) for split, part in parts.items()}
    first, features = next(iter(found.items()))
    for split, theirs in found.items():
        for name in features.keys() & theirs.keys():
            if features[name].get("names") != theirs[name].get("names"):
                raise DataError(f"{where}: column {name!r} has other classes in {split} than in {first}; make them one")
    return features


def _described(schema: pa.Schema, part: Any) -> _Features:
    metadata = (schema if isinstance(part, pa.Table) else part.features.arrow_schema).metadata or {}
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):  # what lacks a description, or has a strange one
        return {}
    return {name: each for name, each in found.items() if _sound(each)} if isinstance(found, dict) else {}


def _sound(description: object) -> bool:
    """Whether a column's description is one: classes have names, if any, in a list."""
    names = description.get("names") if isinstance(description, dict) else 0
    return names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))


def _columns(tables: Mapping[str, pa.Table], features: _Features, where: str) -> tuple[str, str, list[str]]:
    """The columns of images and labels, and what has to be said of the choice."""
    schema = next(iter(tables.values())).schema
    kinds = {name: features.get(name, {}).get("_type") for name in schema.names}
    images = [
        name
        for name in schema.names
        if kinds[name] == "Image" or (kinds[name] is None and _encoded(schema.field(name).type))
    ]
    labels = [name for name in LABELS if name in schema.names]
    labels += [name for name, kind in kinds.items() if kind == "ClassLabel" and name not in labels]
    if not images or not labels:
        lacking = "image column (encoded bytes)" if not images else f"label column ({', '.join(LABELS)})"
        raise DataError(f"{where}: no {lacking}; its columns are {', '.join(schema.names)}")
    image, label = _one("image", images, IMAGES, where), _one("label", labels, LABELS, where)
    for split, table in tables.items():
        if lacks := [name for name in (image, label) if name not in table.column_names]:
            raise DataError(f"{where}: split {split!r} has no column {lacks[0]}; its columns are {table.column_names}")
    chosen = (("Images", image, images), ("Labels", label, labels))
    notes = [
        f"{what} are the column {name!r}, not {' or '.join(repr(other) for other in found if other != name)}"
        for what, name, found in chosen
        if len(found) > 1
    ]
    return image, label, notes


def _one(what: str, found: Sequence[str], usual: Sequence[str], where: str) -> str:
    """The only column, or the first with a usual name."""
    chosen = next((name for name in usual if name in found), None) or (found[0] if len(found) == 1 else None)
    if chosen is None:
        raise DataError(
            f"{where}: {' and '.join(found[:3])} could each be the {what} column; rename the right one {usual[0]}"
        )
    return chosen


def _encoded(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _items(column: pa.ChunkedArray) -> list[Item]:
    if not pa.types.is_struct(column.type):
        return [value or b"" for value in column.to_pylist()]
    return [_item(value) for value in column.to_pylist()]


def _item(value: Mapping[str, Any] | None) -> Item:
    return (value or {}).get("bytes") or (value or {}).get("path") or b""


class _Rows(Sequence[Item]):
    """The encoded images of a `datasets.Dataset`, read from its Arrow file when asked for, in worker processes too."""

    def __init__(self, part: Any, column: str) -> None:
        from datasets import Image

        self._part = part.select_columns([column]).cast_column(column, Image(decode=False))
        self._column = column

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, at: Any) -> Any:
        return _item(self._part[int(at)][self._column])
