"""Texts of a table: the bytes of the column `text`, and a target for each."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from oneticket.data.roles import assign
from oneticket.data.settle import settle
from oneticket.data.sources import DataRequest, Raw, Split
from oneticket.data.tables.column import missing
from oneticket.data.tables.kinds import kind_of, plain
from oneticket.data.tables.target import Features, origin, targets_of
from oneticket.data.texts.encode import VOCABULARY, encoded, length_of
from oneticket.ground.errors import DataError

NAME = "text"
"""What the column of texts is called, in any case."""


def text_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold texts to be read as such: named `text`, and texts.

    >>> text_columns(pa.schema([("Text", pa.string()), ("city", pa.string()), ("label", pa.int64())]))
    ['Text']
    """
    return [each.name for each in schema if each.name.casefold() == NAME and kind_of(each.type) == "texts"]


def texts(
    tables: Mapping[str, pa.Table],
    features: Features,
    request: DataRequest,
    target: str,
    text: str,
    where: str,
) -> Raw:
    """Texts as ids and their targets.

    As long as is asked for, else as the network takes them, else as the longest training text, up to 256 bytes.

    Raises DataError for columns that a split lacks, missing texts (unless they are to be filled: then they are empty),
    and NUL bytes.
    """
    found = targets_of(tables, target, request.targets, features, where)
    train, _ = assign(tables, [], where)
    plain_texts = {}
    for split, table in tables.items():
        if text not in table.column_names or kind_of(table.schema.field(text).type) != "texts":
            raise DataError(f"{where}: split {split!r} has no texts in a column {text!r}, which {train!r} has")
        if (bare := missing(table[text])) and request.spec.missing == "refuse":
            raise DataError(
                f"{where}: split {split!r}, column {text!r}: {bare:,} texts are missing; remove those rows, or set "
                "missing='fill' to take them as empty"
            )
        plain_texts[split] = [value or "" for value in plain(table[text]).to_pylist()]
    like = request.inputs
    length = request.spec.length or (like.shape[0] if like and like.kind == "tokens" else None)
    length = length or length_of(plain_texts[train])
    each = {split: encoded(some, length, f"{where}, split {split!r}") for split, some in plain_texts.items()}
    notes = [f"Texts: column {text}, as UTF-8 bytes", f"Label: column {target}"]
    if cut := {split: one.cut for split, one in each.items() if one.cut}:
        counts = ", ".join(f"{count:,} in {split}" for split, count in cut.items())
        notes.append(f"Longer texts are cut: {counts}; set length for more")
    if empty := sum(not value for some in plain_texts.values() for value in some):
        notes.append(f"{empty:,} texts are empty")
    splits = {
        split: Split(inputs=each[split].ids, targets=values, origin=origin(split, "texts"))
        for split, values in found.values.items()
    }
    return settle(
        splits,
        found.classes,
        where,
        kind="tokens",
        targets=found.kind,
        vocabulary=VOCABULARY,
        columns={"label": target, "inputs": [text]},
        notes=[*notes, *found.notes],
    )
