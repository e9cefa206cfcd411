"""Rows of a table as vectors: the input columns side by side, in the order of the training split, and the targets."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneticket.data.roles import assign
from oneticket.data.settle import fifth, settle
from oneticket.data.sources import DataRequest, Raw, Split
from oneticket.data.subset import Ints
from oneticket.data.tables.column import Column, counts_rows, infinite, learned, missing
from oneticket.data.tables.kinds import kind_of
from oneticket.data.tables.target import Features, origin, targets_of
from oneticket.ground.errors import DataError
from oneticket.ground.memory import afford

INDEX = re.compile(r"__index_level_\d+__")
"""Columns that pandas adds for the names of rows."""

LARGEST = float(np.finfo(np.float32).max)

SHOWN = 6
"""Names that a sentence of the reading has at most."""


def vectors(tables: Mapping[str, pa.Table], features: Features, request: DataRequest, target: str, where: str) -> Raw:
    """Rows as vectors and their targets; raises DataError as `rows_of` and `targets_of` do."""
    found = targets_of(tables, target, request.targets, features, where)
    train, test = assign(tables, found.labelled(), where)
    used = {split: table for split, table in tables.items() if split in (train, test)}
    declared = [name for name, each in features.items() if each.get("_type") == "ClassLabel"]
    learnt = fifth(found.values[train], found.kind)[0] if test is None else None
    rows = rows_of(used, train, target, where, rows=learnt, fill=request.spec.missing == "fill", declared=declared)
    width = rows.values[train].shape[1]
    splits = {}
    for split, values in found.values.items():
        # A split that is not used is only counted.
        inputs = rows.values[split] if split in used else np.broadcast_to(np.float64(0), (len(values), width))
        splits[split] = Split(inputs=inputs.astype(np.float32), targets=values, origin=origin(split, "rows"))
    notes = [*rows.notes[:1], f"Label: column {target}", *rows.notes[1:], *found.notes]
    return settle(
        splits,
        found.classes,
        where,
        kind="vectors",
        targets=found.kind,
        unscaled=rows.unscaled,
        columns={"label": target, "inputs": [each for column in rows.columns for each in column.inputs], **rows.filled},
        notes=notes,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The inputs of each split, float64 (N, F), what each input column became, and remarks.

    `unscaled`: positions of inputs that are 0 or 1, which are not scaled. `filled`: under that name the values filled
    in for missing ones; empty if none is missing.
    """

    values: dict[str, NDArray[np.float64]]
    columns: tuple[Column, ...]
    unscaled: tuple[int, ...]
    filled: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def rows_of(
    tables: Mapping[str, pa.Table],
    train: str,
    target: str,
    where: str,
    *,
    rows: Ints | None = None,
    fill: bool = False,
    declared: Collection[str] = (),
) -> Rows:
    """All columns but the target as inputs, as the training split has them.

    `rows`: those of the training split that are trained on, where a part of it is held out: what a column becomes is
    learned from them alone. `fill`: missing values become the training rows' median or most frequent value; else they
    are refused. `declared`: columns that the file describes as categories. Raises DataError, naming columns, for what
    cannot be an input, missing or infinite values, and splits with other columns than the training split.

    >>> table = pa.table({"a": [1.0, 2.0], "b": [True, False], "label": [0, 1]})
    >>> rows_of({"train": table}, "train", "label", "set").values["train"].tolist()
    [[1.0, 1.0], [2.0, 0.0]]
    """
    names = [name for name in tables[train].column_names if name != target and not INDEX.fullmatch(name)]
    if not names:
        raise DataError(f"{where}: no column beside the label {target!r}; expected at least one input column")
    table = tables[train] if rows is None else tables[train].take(rows)
    found = {name: learned(name, table[name], declared=name in declared) for name in names}
    columns = tuple(column for column in found.values() if isinstance(column, Column))
    if unusable := {name: why for name, why in found.items() if isinstance(why, str)}:
        words = "; ".join(f"{name!r} ({why})" for name, why in list(unusable.items())[:SHOWN])
        more = f"; and {len(unusable) - SHOWN} more" if len(unusable) > SHOWN else ""
        raise DataError(
            f"{where}: columns that cannot be inputs: {words}{more}. Take them out of the files, or make them numbers"
        )
    _check_columns(tables, train, [*names, target], where)
    width = sum(column.width for column in columns)
    afford(8 * width * sum(map(len, tables.values())), f"{where}: {width:,} inputs a row")
    filled = _check_values(tables, columns, where, fill=fill)
    values = {
        split: np.concatenate([column.encode(table[column.name]) for column in columns], axis=1)
        for split, table in tables.items()
    }
    scaled = np.repeat([column.kind == "number" for column in columns], [column.width for column in columns])
    for split, inputs in values.items():
        if (wrong := np.flatnonzero((np.abs(inputs) > LARGEST).any(0))).size:
            names = [column.name for column in columns for _ in range(column.width)]
            raise DataError(
                f"{where}: column {names[wrong[0]]!r} of split {split!r} holds numbers beyond float32 "
                "(3.4e38); scale it first"
            )
    return Rows(
        values=values,
        columns=columns,
        filled={"filled": {column.name: column.fill for column in filled}} if filled else {},
        unscaled=tuple(np.flatnonzero(~scaled).tolist()),
        notes=(
            *_column_notes(columns),
            *_gaps(filled),
            *_odd(tables, train, columns),
            *_index(tables[train].column_names),
        ),
    )


def _check_columns(tables: Mapping[str, pa.Table], train: str, wanted: Sequence[str], where: str) -> None:
    for split, table in tables.items():
        theirs = {name for name in table.column_names if not INDEX.fullmatch(name)}
        if lacking := [name for name in wanted if name not in theirs]:
            raise DataError(
                f"{where}: split {split!r} has no column {_few(lacking)}, which {train!r} has; make them one"
            )
        if more := [name for name in table.column_names if name in theirs.difference(wanted)]:
            raise DataError(
                f"{where}: split {split!r} has the column {_few(more)}, which {train!r} has not; take it out"
            )
        for name in wanted:
            kinds = [FAMILIES.get(kind, kind) for kind in (kind_of(each[name].type) for each in (tables[train], table))]
            if kinds[0] != kinds[1] and kinds[1] != "nothing":
                raise DataError(
                    f"{where}: column {name!r} holds {kinds[0]} in {train!r} and {kinds[1]} in {split!r}; make it one"
                )


def _check_values(
    tables: Mapping[str, pa.Table], columns: Sequence[Column], where: str, *, fill: bool
) -> dict[Column, int]:
    """The columns with missing values, and how many; DataError, by column and count, for what stays."""
    endless = {column.name: sum(infinite(table[column.name]) for table in tables.values()) for column in columns}
    if found := [f"{name!r} ({count:,} rows)" for name, count in endless.items() if count]:
        raise DataError(f"{where}: infinite values in column {_few(found)}; mend or remove those rows")
    counts = {column: sum(missing(table[column.name]) for table in tables.values()) for column in columns}
    lacking = {column: count for column, count in counts.items() if count}
    if lacking and not fill:
        found = [f"{column.name!r} ({count:,} rows)" for column, count in lacking.items()]
        raise DataError(
            f"{where}: values are missing in column {_few(found)}; mend the files, or set missing='fill' for the "
            "training rows' median or most frequent value"
        )
    return lacking


def _gaps(filled: Mapping[Column, int]) -> list[str]:
    words = [f"{column.name} ({count:,} with {_short(column.fill)})" for column, count in filled.items()]
    return [f"Missing values are filled: {_few(words)}"] if words else []


def _column_notes(columns: Sequence[Column]) -> list[str]:
    """The input columns in a sentence."""
    plain = [column.name for column in columns if column.kind == "number"]
    truths = [column.name for column in columns if column.kind == "truth value"]
    values = [f"{column.name} ({_few(list(map(str, column.categories)))})" for column in columns if column.categories]
    kinds = (("columns", plain), ("true or false", truths), ("categories", values))
    return ["Inputs: " + "; ".join(f"{what} {_few(names)}" for what, names in kinds if names)]


def _odd(tables: Mapping[str, pa.Table], train: str, columns: Sequence[Column]) -> list[str]:
    """Remarks on columns that are constant, number the rows, or hold new values in the test part."""
    notes = []
    if same := [column.name for column in columns if column.constant]:
        notes.append(f"The same in every training row: {_few(same)}")
    if numbering := [column.name for column in columns if counts_rows(tables[train][column.name])]:
        notes.append(f"{_few(numbering)} numbers the rows; take it out of the files if it is no input")
    if moved := [f"{column.name} ({column.offset:.6g})" for column in columns if column.offset]:
        notes.append(f"Numbers without their training mean, which is far from 0: {_few(moved)}")
    for column in columns:
        strange = [value for table in tables.values() for value in column.strange(table[column.name])]
        if strange:
            known = _few(sorted(set(map(str, strange))))
            notes.append(f"{len(strange):,} test rows have other categories of {column.name} ({known}), read as none")
    return notes


def _index(names: Sequence[str]) -> list[str]:
    found = [name for name in names if INDEX.fullmatch(name)]
    return [f"Not read: {_few(found)}, pandas's names of the rows"] if found else []


def _few(names: Sequence[str]) -> str:
    """Names in their order; of many the first ones and the last."""
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: SHOWN - 2])} ... {names[-1]}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


FAMILIES = {"whole numbers": "numbers"}
"""Kinds that count as one when splits are compared: a file of whole numbers alone may be of others in another split."""
