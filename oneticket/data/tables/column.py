"""One input column of a table: what it is made into, as the training rows have it, and the numbers that it becomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oneticket.data.tables.kinds import kind_of, numbers, plain

MOST = 32
"""Different values that a column of categories has at most."""

ROWS_EACH = 4
"""Training rows that there are at least for each of them, on average."""

FAR = 1e4
"""Deviations from 0 beyond which a column of numbers is moved to its mean: float32 has seven digits."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column becomes: itself (a number), 0 or 1 (a truth value), or one 0 or 1 for each of its categories.

    `categories`: the different values of the training rows, sorted. `fill`: what stands for a missing value: the median
    of the training rows, or their most frequent value. `constant`: all training rows have the same. `offset`: what is
    taken off a number, the training rows' mean where float32 would lose how they differ, as of times in seconds.
    """

    name: str
    kind: Literal["number", "truth value", "categories"]
    categories: tuple[Any, ...] = ()
    fill: Any = None
    constant: bool = False
    offset: float = 0.0

    @property
    def inputs(self) -> list[str]:
        """What each of its numbers is: the column, or one of its categories."""
        return [f"{self.name}={value}" for value in self.categories] or [self.name]

    @property
    def width(self) -> int:
        """How many numbers it becomes."""
        return len(self.categories) if self.kind == "categories" else 1

    def encode(self, column: pa.ChunkedArray) -> Floats:
        """Its values in a split as float64 (N, width); a missing one is filled, an unknown category is all zeros."""
        if self.kind == "categories":
            places = {value: place for place, value in enumerate(self.categories)}
            found = [self.fill if value is None else value for value in plain(column).to_pylist()]
            rows = np.array([places.get(value, -1) for value in found], dtype=np.int64)
            return np.asarray(rows[:, None] == np.arange(self.width), dtype=np.float64)
        values = numbers(column)
        return np.where(np.isnan(values), self.fill, values)[:, None] - self.offset

    def strange(self, column: pa.ChunkedArray) -> list[Any]:
        """The values of a split, once for each row, that are none of its categories."""
        if self.kind != "categories":
            return []
        return [value for value in plain(column).to_pylist() if value is not None and value not in self.categories]


def learned(name: str, column: pa.ChunkedArray, *, declared: bool = False) -> Column | str:
    """What a column is by its training rows, or in words why it cannot be an input.

    Numbers and truth values are themselves. Texts are categories if they have at most 32 different values and at least
    4 rows a value; so is what the file itself declares as categories.

    >>> learned("colour", pa.chunked_array([["red", "blue", "red", "red"] * 2])).categories
    ('blue', 'red')
    >>> learned("born", pa.chunked_array([pa.array([0, 1], pa.date32())]))
    'dates or times'
    """
    kind = kind_of(column.type)
    count = len(column) - missing(column)
    if kind not in ("whole numbers", "numbers", "truth values", "texts"):
        return kind
    if not name.strip():
        return "it has no name, as pandas writes the names of rows: write the file with index=False"
    if not count:
        return "no value in any training row"
    if kind == "texts" or declared or pa.types.is_dictionary(column.type):
        return _categories(name, column)
    values = numbers(column)
    known = values[~np.isnan(values)]
    constant = bool(known.min() == known.max()) and count == len(column)
    if kind == "truth values":
        return Column(name=name, kind="truth value", fill=float(known.mean() > 0.5), constant=constant)
    return Column(name=name, kind="number", fill=float(np.median(known)), constant=constant, offset=_offset(known))


def _offset(values: Floats) -> float:
    if values.min() == values.max():
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # infinite and larger values are refused later
        mean, deviation = float(values.mean()), float(values.std())
    return mean if abs(mean) > FAR * deviation else 0.0


def missing(column: pa.ChunkedArray) -> int:
    """How many rows have no value: null, or NaN."""
    return int(pc.sum(pc.is_null(plain(column), nan_is_null=True)).as_py() or 0)


def infinite(column: pa.ChunkedArray) -> int:
    """How many rows have an infinite value."""
    return int(np.isinf(numbers(column)).sum()) if kind_of(column.type) == "numbers" else 0


def counts_rows(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers are all of a row of numbers once, as the numbers of rows are.

    >>> counts_rows(pa.chunked_array([[3, 1, 2]])), counts_rows(pa.chunked_array([[3, 1, 1]]))
    (True, False)
    """
    if kind_of(column.type) != "whole numbers" or missing(column) or len(column) < 2:
        return False
    ends = pc.min_max(plain(column)).as_py()
    return bool(ends["max"] - ends["min"] + 1 == len(column) == pc.count_distinct(plain(column)).as_py())


def _categories(name: str, column: pa.ChunkedArray) -> Column | str:
    values = [value for value in plain(column).to_pylist() if value is not None]
    found = Counter(values)
    if mixed := _no_number(list(found)):
        return f"numbers, and texts as {mixed!r}; leave the cell empty where a value is missing"
    if len(found) > MOST or ROWS_EACH * len(found) > len(column):
        kind = kind_of(column.type)
        few = f"{len(found):,} different {kind}; categories have at most {MOST}, with {ROWS_EACH} rows each"
        return few if kind != "texts" else f"{few}; to be read as texts, name it text"
    ordered = sorted(found)
    fill = max(ordered, key=lambda value: found[value])  # of several, the first
    constant = len(ordered) == 1 and len(values) == len(column)
    return Column(name=name, kind="categories", categories=tuple(ordered), fill=fill, constant=constant)


def _no_number(values: list[Any]) -> str:
    """A text that is no number among texts that mostly are, as a `?` for a missing one; empty if there is none."""
    others = [value for value in values if isinstance(value, str) and not _is_number(value)]
    return min(others) if others and 2 * len(others) < len(values) and isinstance(values[0], str) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
