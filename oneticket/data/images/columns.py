"""Images in a column of a table: which column holds them, which their labels, and the encoded images one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from oneticket.data.images.decode import Item
from oneticket.data.images.labels import LABELS, numbered
from oneticket.data.settle import settle
from oneticket.data.sources import DataRequest, Raw, Split
from oneticket.data.tables.target import Features, targets_of
from oneticket.ground.errors import DataError

IMAGES = ("image", "img")
"""What the column of images is called, where there are several."""


def image_columns(schema: pa.Schema, features: Features) -> list[str]:
    """The columns that hold encoded images: described so, or bytes without a description."""
    kinds = {name: features.get(name, {}).get("_type") for name in schema.names}
    return [
        name
        for name in schema.names
        if kinds[name] == "Image" or (kinds[name] is None and _encoded(schema.field(name).type))
    ]


def images(
    tables: Mapping[str, pa.Table],
    parts: Mapping[str, Any],
    features: Features,
    request: DataRequest,
    where: str,
    *,
    in_memory: bool,
) -> Raw:
    """The images and targets of each split; `in_memory`: also of what the `datasets` library has mapped from files.

    Raises DataError for columns that are missing, not clear, or in one split alone.
    """
    image, label, notes = _columns(tables, features, request.spec.label, where)
    items = {
        split: _items(tables[split][image]) if in_memory or isinstance(part, pa.Table) else _Rows(part, image)
        for split, part in parts.items()
    }
    classes: list[str] = []
    values: dict[str, Any]
    if request.targets == "numbers" and in_memory:
        found = targets_of(tables, label, "numbers", features, where)
        values, notes = found.values, [*notes, *found.notes]
    else:
        names: list[Any] | None = features.get(label, {}).get("names")
        columns = {split: table[label] for split, table in tables.items()}
        classes, values = numbered(columns, names, f"{where}: column {label!r}")
    splits = {
        split: Split(inputs=items[split], targets=each, origin=f"split {split}") for split, each in values.items()
    }
    return settle(splits, classes, where, targets="numbers" if request.targets == "numbers" else "classes", notes=notes)


def _columns(
    tables: Mapping[str, pa.Table], features: Features, asked: str | None, where: str
) -> tuple[str, str, list[str]]:
    """The columns of images and labels, and remarks on the choice."""
    schema = next(iter(tables.values())).schema
    images = image_columns(schema, features)
    labels = [name for name in LABELS if name in schema.names]
    labels += [
        name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel" and name not in labels
    ]
    if asked is not None:
        labels = [name for name in schema.names if name == asked]
    if not images or not labels:
        usual = ", ".join(LABELS) if asked is None else repr(asked)
        lacking = "image column (encoded bytes)" if not images else f"label column ({usual})"
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
    fields = [field.name for field in column.type]
    rows = column.combine_chunks()
    values = dict(zip(fields, rows.flatten(), strict=True))  # a row that is missing has no values
    found = [values[name] for name in ("bytes", "path") if name in values]
    kept = [[None] * len(one) if one.null_count == len(one) else one.to_pylist() for one in found]
    return [next(filter(None, some), b"") for some in zip(*kept, strict=True)]


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
