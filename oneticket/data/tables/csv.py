"""CSV files as tables: types are found from the whole column, and an empty field is a missing value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv


def read_csv(path: Path) -> pa.Table:
    """The table of a CSV file with a line of names first, separated by commas; raises what pyarrow raises.

    An empty field, NA, NaN and null are missing values; in quotes they are texts.
    """
    # Types are guessed from the first block alone, so that one block holds all.
    block = min(max(path.stat().st_size + 1, 2**20), 2**31 - 2)
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=block, use_threads=False),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False),
    )
    if table.num_columns == 1 and any(mark in table.column_names[0] for mark in ";\t|"):
        raise pa.ArrowInvalid(f"expected columns separated by commas, got the line {table.column_names[0]!r}")
    for column in table.schema:
        if pa.types.is_binary(column.type):  # what pyarrow makes of it
            raise pa.ArrowInvalid(f"column {column.name!r} holds bytes that are no UTF-8")
    return table
