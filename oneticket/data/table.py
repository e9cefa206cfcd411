"""Sets kept as Arrow tables: Parquet files laid out as on the Hub, and what the `datasets` library loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oneticket.data import hub
from oneticket.data.decode import Item
from oneticket.data.sources import LARGE, Raw, Source, Split, fingerprint, settle
from oneticket.data.subset import Ints
from oneticket.ground.errors import DataError

LABELS = ("label", "labels", "fine_label", "class", "target")


def parquet(root: Path, *, streams: bool = False) -> Source:
    """The Parquet files `<split>-*.parquet` of one folder. Large sets go through an Arrow copy that the cache keeps."""
    files: dict[str, list[Path]] = {}
    for path in sorted(root.glob("*.parquet")):
        files.setdefault(path.stem.split("-")[0], []).append(path)
    known, size = fingerprint([(path.name, path) for found in files.values() for path in found])

    def read() -> Raw:
        if size > LARGE:
            return _raw(hub.arrow(files), str(root))
        return _raw({split: _table(found) for split, found in files.items()}, str(root))

    return Source(where=str(root), fingerprint=known, streams=streams or size > LARGE, read=read)


def loaded(parts: Mapping[str, Any], files: Sequence[Path], where: str, *, streams: bool = False) -> Source:
    """A set that the `datasets` library has loaded: its splits by name, and the files that its content is known by."""
    known, size = fingerprint([(path.name, path) for path in files])
    return Source(
        where=where,
        fingerprint=known,
        streams=streams or size > LARGE,
        read=lambda: _raw(parts, where, in_memory=size <= LARGE),
    )


def _table(files: Sequence[Path]) -> pa.Table:
    path = files[0]
    try:
        tables = [pq.read_table(path := file) for file in files]
        return pa.concat_tables(tables)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot read this Parquet file: {error}; fetch it again") from None


def _raw(parts: Mapping[str, Any], where: str, *, in_memory: bool = False) -> Raw:
    """Splits, each a pyarrow table or a `datasets.Dataset`, as a checked set."""
    if not parts:
        raise DataError(f"{where}: holds no split; expected at least train")
    tables = {split: part if isinstance(part, pa.Table) else part.data.table for split, part in parts.items()}
    schema = next(iter(tables.values())).schema
    features = _features(schema, parts)
    image, label = _columns(schema, features, where)
    names: list[Any] | None = features.get(label, {}).get("names")
    if names is None:
        names = _values([table[label] for table in tables.values()])
    splits = {}
    for split, part in parts.items():
        table = tables[split]
        items = _items(table[image]) if in_memory or isinstance(part, pa.Table) else _Rows(part, image)
        splits[split] = Split(images=items, labels=_numbers(table[label], names, f"{where}: split {split!r}"))
    return settle(splits, [str(name) for name in names], where)


def _features(schema: pa.Schema, parts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The Hub's description of each column, where there is one."""
    part = next(iter(parts.values()))
    metadata = (schema if isinstance(part, pa.Table) else part.features.arrow_schema).metadata or {}
    found: dict[str, dict[str, Any]] = (
        json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features") or {}
    )
    return found


def _columns(schema: pa.Schema, features: Mapping[str, Mapping[str, Any]], where: str) -> tuple[str, str]:
    kinds = {name: features.get(name, {}).get("_type") for name in schema.names}
    images = [
        name
        for name in schema.names
        if kinds[name] == "Image" or (kinds[name] is None and _encoded(schema.field(name).type))
    ]
    labels = [name for name in LABELS if name in schema.names] or [
        name for name, kind in kinds.items() if kind == "ClassLabel"
    ]
    if not images or not labels:
        lacking = "image column (encoded bytes)" if not images else f"label column ({', '.join(LABELS)})"
        raise DataError(f"{where}: no {lacking}; its columns are {', '.join(schema.names)}")
    return images[0], labels[0]


def _encoded(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _values(columns: list[pa.ChunkedArray]) -> list[Any]:
    """Class names of an undescribed column: its texts, sorted, or 0..highest."""
    found = {value for column in columns for value in pc.unique(column).to_pylist() if value is not None}
    if all(isinstance(value, int) for value in found):
        return list(range(max(found, default=-1) + 1))
    return sorted(found)


def _numbers(column: pa.ChunkedArray, names: list[Any], where: str) -> Ints:
    if column.null_count:
        raise DataError(f"{where}: {column.null_count} images have no label; remove them")
    if pa.types.is_integer(column.type):
        return np.array(column.to_numpy(), dtype=np.int64)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.searchsorted(np.array(names), np.array(column.to_pylist())).astype(np.int64)
    raise DataError(f"{where}: expected labels as whole numbers or texts, got {column.type}")


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
