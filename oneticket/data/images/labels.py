"""Labels in a column of a table: which column it is, what its classes are called, and each label as a class number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oneticket.data.subset import Ints
from oneticket.data.tables.kinds import as_array
from oneticket.ground.errors import DataError

LABELS = ("label", "labels", "fine_label", "class", "target")
"""Columns that hold labels; the first that is there is read."""

HIDDEN = -1
"""The label of an image without a given label."""


def numbered(
    columns: Mapping[str, pa.ChunkedArray], names: Sequence[Any] | None, where: str
) -> tuple[list[str], dict[str, Ints]]:
    """The names of the classes, and the labels of each split as class numbers.

    Labels are whole numbers (floats too, if they are whole), texts, or true and false, plain or as categories. Without
    `names`, whole numbers are the classes 0 to the highest, texts are sorted. A split without any label has -1 for all.
    Raises DataError, naming split and column, for any other label.

    >>> numbered({"train": pa.chunked_array([[True, False, True]])}, None, "pets: column label")[0]
    ['False', 'True']
    """
    plain = {split: _plain(column, f"{where}, split {split!r}") for split, column in columns.items()}
    there = {split: values for split, values in plain.items() if values is not None}
    kinds = {split: _kind(values.type) for split, values in there.items()}
    if len(set(kinds.values())) > 1:
        raise DataError(
            f"{where}: is {' and '.join(f'{kind} in {split}' for split, kind in kinds.items())}; make it one"
        )
    kind = next(iter(kinds.values()), "whole numbers")
    names = NAMES[kind](list(there.values()), where) if names is None else names
    numbers: dict[Any, int] = {name: number for number, name in enumerate(names)}
    labels = {}
    for split, column in columns.items():
        values = there.get(split)
        if values is None:
            labels[split] = np.full(len(column), HIDDEN, np.int64)
        elif kind == "whole numbers":
            labels[split] = as_array(values).astype(np.int64)
        else:
            labels[split] = np.array([numbers.get(value, HIDDEN) for value in values.to_pylist()], dtype=np.int64)
    return [str(name) for name in names], labels


def _plain(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray | None:
    """Labels as whole numbers, texts or booleans without gaps; None where there is no label at all."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    bare = pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0
    if bare and bare == len(column):
        return None
    if bare:
        raise DataError(f"{where}: {bare} images have no label; remove them")
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return _whole(column, where)
    if not _kind(column.type):
        raise DataError(f"{where}: expected labels as whole numbers, texts or true and false, got {column.type}")
    return column


def _whole(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        broken = next((value for value in pc.unique(column).to_pylist() if value % 1), pc.max(column))
        raise DataError(
            f"{where}: holds {broken}, which is no whole number; a label is a class, so round or bin the values first"
        ) from None


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "whole numbers"
    if pa.types.is_boolean(kind):
        return "true and false"
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return "texts" if any(is_text(kind) for is_text in texts) else ""


def _up_to(columns: Sequence[pa.ChunkedArray], where: str) -> list[int]:
    highest = max((pc.max(column).as_py() for column in columns if len(column)), default=-1)
    images = sum(map(len, columns))
    if highest >= max(images, 1):
        raise DataError(f"{where}: label {highest} of {images} images; labels are the numbers from 0, without gaps")
    return list(range(highest + 1))


def _texts(columns: Sequence[pa.ChunkedArray], _: str) -> list[str]:
    return sorted({value for column in columns for value in pc.unique(column).to_pylist()})


NAMES: dict[str, Callable[[Sequence[pa.ChunkedArray], str], list[Any]]] = {
    "whole numbers": _up_to,
    "texts": _texts,
    "true and false": lambda *_: [False, True],
}
