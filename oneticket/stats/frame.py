"""Rows of results, and a book's levels, as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from oneticket.ground.brief import word
from oneticket.ground.errors import SpecError
from oneticket.ground.extras import naming_extras
from oneticket.study.rows import COLUMNS
from oneticket.ticket.book import Book

if TYPE_CHECKING:
    from pandas import DataFrame


@naming_extras()
def of_rows(rows: Iterable[Mapping[str, Any]]) -> DataFrame:
    """One row for each trained network, with the columns of `rows.csv`.

    >>> of_rows([{"arm": "dense", "score": 0.5}])[["arm", "score"]].values.tolist()
    [['dense', 0.5]]
    """
    import pandas

    return pandas.DataFrame(list(rows), columns=list(COLUMNS))


@naming_extras()
def of_book(book: Book) -> DataFrame:
    """One row for each level: the mask's counts, then the record; the index is the level."""
    import pandas

    records = book.records or [{}] * len(book)
    made = [
        {
            **record,
            "level": level,
            "density": counts.prunable,
            "model_density": counts.model,
            "living": counts.remaining,
        }
        for level, (counts, record) in enumerate(zip(book.weight_counts, records, strict=True))
    ]
    first = ["level", "density", "model_density", "living"]
    frame = pandas.DataFrame(made)
    return frame[[*first, *(name for name in frame.columns if name not in first)]].set_index("level")


def plain(rows: Any) -> list[dict[str, Any]]:
    """Rows of any form, as mappings with None for unknown values; SpecError for anything else.

    A DataFrame and a study's run are accepted too.

    >>> plain([{"arm": "dense"}])
    [{'arm': 'dense'}]
    """
    rows = getattr(rows, "rows", rows)
    if hasattr(rows, "to_dict") and hasattr(rows, "notna"):
        kept = rows.astype(object).where(rows.notna(), None)
        return [{str(name): value for name, value in row.items()} for row in kept.to_dict("records")]
    found = list(rows) if isinstance(rows, Iterable) else [rows]
    if all(isinstance(row, Mapping) for row in found):
        return [dict(row) for row in found]
    raise SpecError(f"rows: expected those of a transfer or a study, a DataFrame of them, or a file, got {word(rows)}")
