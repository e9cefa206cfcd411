"""The content of a table's column, in plain words, for all of Arrow's types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def kind_of(kind: pa.DataType) -> str:
    """Words for what a column holds.

    >>> [kind_of(each) for each in (pa.int8(), pa.float32(), pa.bool_(), pa.large_string(), pa.date32())]
    ['whole numbers', 'numbers', 'truth values', 'texts', 'dates or times']
    """
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    for words, tests in KINDS.items():
        if any(getattr(pa.types, f"is_{test}")(kind) for test in tests):
            return words
    return str(kind)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with its values themselves, where it holds categories by number."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers or truth values as float64 (N,), NaN where missing."""
    # Not "safe", which refuses whole numbers beyond 2^53; their neighbours are one number to any network.
    return as_array(pc.fill_null(pc.cast(plain(column), pa.float64(), safe=False), np.nan))


def as_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Numbers without gaps (N,), copied; pyarrow's own way to NumPy imports pandas, which takes 0.15 s.

    >>> as_array(pa.chunked_array([[2, 3], [5]]))
    array([2, 3, 5])
    """
    return np.array(np.from_dlpack(column.combine_chunks()))


KINDS: dict[str, tuple[str, ...]] = {
    "whole numbers": ("integer",),
    "numbers": ("floating",),
    "truth values": ("boolean",),
    "texts": ("string", "large_string", "string_view"),
    "decimals": ("decimal",),
    "dates or times": ("temporal",),
    "lists": ("list", "large_list", "fixed_size_list", "list_view", "large_list_view", "map"),
    "records": ("struct",),
    "bytes": ("binary", "large_binary", "binary_view", "fixed_size_binary"),
    "nothing": ("null",),
}
"""Words -> the tests of `pyarrow.types` for them."""
