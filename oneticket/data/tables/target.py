"""The target column of a table: which one it is, and its values as classes or as numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oneticket.data.roles import assign
from oneticket.data.tables.kinds import kind_of, numbers, plain
from oneticket.ground.errors import DataError, WrongDataError
from oneticket.task.spec import Targets
from oneticket.ticket.names import listed

USUAL = ("label", "labels", "target", "class")
"""What the target column is called, in any case; where there is none of them, `y` is."""

FEWEST = 2
"""Rows that a class has on average. Of fewer, whole numbers and texts name no classes."""

HIDDEN = -1
"""The class of a row without a given target."""


Features = Mapping[str, Mapping[str, Any]]
"""The Hub's description of each column, where there is one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnTargets:
    """The targets of each split: int64 (N,) of the classes named, -1 where hidden, or float32 (N, 1).

    `kind`: which of the two. `notes`: remarks, for example on splits without numbers, which are left out.
    """

    classes: tuple[str, ...]
    values: dict[str, NDArray[Any]]
    kind: Targets
    notes: tuple[str, ...] = ()

    def labelled(self) -> list[str]:
        """The splits with targets."""
        return [split for split, values in self.values.items() if self.kind != "classes" or (values >= 0).any()]


def targets_of(
    tables: Mapping[str, pa.Table], name: str, wanted: Targets, features: Features, where: str
) -> ColumnTargets:
    """The targets that a task wants, out of the column of that name; a split that lacks it is hidden.

    A task that takes targets as they are given gets floats as numbers, and all others as classes. Raises DataError for
    targets that the column does not give.
    """
    if wanted == "tokens":
        raise WrongDataError(
            f"{where}: holds examples with a target each; the task language needs a plain text, as book.txt"
        )
    train, _ = assign(tables, [], where)
    columns = {
        split: table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
        for split, table in tables.items()
    }
    if wanted == "numbers" or (wanted == "given" and kind_of(columns[train].type) == "numbers"):
        return as_numbers(columns, train, name, where)
    return as_classes(columns, train, name, where, names=features.get(name, {}).get("names"))


def origin(split: str, several: str) -> str:
    """What a split is called in the reading; a set of one file without a split's name has its rows or texts alone."""
    return f"its {several}" if split == "all" else f"split {split}"


def target_column(columns: Sequence[str], asked: str | None, where: str, *, labels: Collection[str] = ()) -> str:
    """The name of the target column: the one asked for, else one with a usual name, else the only one of `labels`.

    `labels`: columns that are described as labels of classes. Raises DataError where there is none or several.

    >>> target_column(["x", "y"], None, "points"), target_column(["y", "Label"], None, "points")
    ('y', 'Label')
    """
    if asked is not None:
        if asked not in columns:
            raise WrongDataError(f"{where}: no column {asked!r} to be the label; its columns are {listed(columns)}")
        return asked
    found = [name for name in columns if name.casefold() in USUAL]
    found = found or [name for name in columns if name.casefold() == "y"] or [n for n in columns if n in labels]
    if not found:
        names = ", ".join((*USUAL, "y"))
        raise WrongDataError(
            f'{where}: no label column ({names}); its columns are {listed(columns)}; name it with `label = "COLUMN"`'
        )
    if len(found) > 1:
        raise WrongDataError(
            f"{where}: {' and '.join(map(repr, found[:3]))} could each be the label column; name it with "
            '`label = "COLUMN"`, and '
            "take the other out of the files if it is no input"
        )
    return found[0]


def as_classes(
    columns: Mapping[str, pa.ChunkedArray], train: str, name: str, where: str, *, names: Sequence[str] | None = None
) -> ColumnTargets:
    """Targets as classes: whole numbers, texts or truth values, plain or as categories.

    The classes are `names`, if the column is described so, else the different values of the training split, sorted.
    `train`: the training split. A split without any target is hidden. Raises DataError, naming split and column, for
    missing targets, for other values than the training split has, and for numbers that are no classes.

    >>> found = as_classes({"train": pa.chunked_array([["b", "a", "b", "a"]])}, "train", "label", "set")
    >>> found.classes, found.values["train"].tolist()
    (('a', 'b'), [1, 0, 1, 0])
    """
    where = f"{where}: column {name!r}"
    there = _there(columns, where)
    kinds = {split: kind_of(column.type) for split, column in there.items()}
    for split, kind in kinds.items():
        if kind not in ("whole numbers", "texts", "truth values"):
            raise DataError(f"{where}, split {split!r}: {NO_CLASSES.get(kind, f'holds {kind}, which are no classes')}")
    if len(set(kinds.values())) > 1:
        raise DataError(f"{where}: {' and '.join(f'{kind} in {split}' for split, kind in kinds.items())}; make it one")
    targets = {split: np.full(len(column), HIDDEN, dtype=np.int64) for split, column in columns.items()}
    if train not in there:
        raise DataError(f"{where}, split {train!r}: has no targets; nothing can be learned from it")
    values = sorted(pc.unique(there[train]).to_pylist()) if names is None else list(range(len(names)))
    if names is None and kinds[train] != "truth values" and FEWEST * len(values) > len(there[train]):
        raise WrongDataError(
            f"{where}: {len(values):,} different {kinds[train]} in {len(there[train]):,} rows, and a class has at "
            f"least {FEWEST} on average; to predict a number, use the task regression; else name another column with "
            "label"
        )
    numbers = {value: number for number, value in enumerate(values)}
    for split, column in there.items():
        found = column.to_pylist()
        if split != train and HIDDEN not in numbers and set(found) == {HIDDEN}:
            continue  # as the Hub hides the labels of a test split
        strange = next((value for value in found if value not in numbers), None)
        if strange is not None:
            known = f"the {len(names)} classes" if names is not None else f"the training split {train!r}"
            raise DataError(f"{where}, split {split!r}: holds {strange!r}, which {known} do not have; mend it")
        targets[split] = np.array([numbers[value] for value in found], dtype=np.int64)
    return ColumnTargets(classes=tuple(map(str, names or values)), values=targets, kind="classes")


def as_numbers(columns: Mapping[str, pa.ChunkedArray], train: str, name: str, where: str) -> ColumnTargets:
    """Targets as numbers, in their own unit; a split without any is left out, with a note.

    Raises DataError, naming split and column, for missing or infinite targets, and for other values than numbers.

    >>> as_numbers({"train": pa.chunked_array([[151, 75]])}, "train", "y", "diabetes").values["train"].tolist()
    [[151.0], [75.0]]
    """
    where = f"{where}: column {name!r}"
    targets: dict[str, NDArray[Any]] = {}
    for split, column in (there := _there(columns, where)).items():
        kind = kind_of(column.type)
        if kind not in ("whole numbers", "numbers"):
            raise DataError(
                f"{where}, split {split!r}: holds {kind}, and the task needs numbers; use the task classification, or "
                "name another column with label"
            )
        values = numbers(column)
        if count := int((np.abs(values) > np.finfo(np.float32).max).sum()):
            raise DataError(f"{where}, split {split!r}: {count:,} targets are infinite; mend or remove those rows")
        targets[split] = values.astype(np.float32)[:, None]
    if train not in there:
        raise DataError(f"{where}, split {train!r}: has no targets; nothing can be learned from it")
    notes = tuple(f"Split {split!r} has no targets and is not read" for split in columns if split not in there)
    return ColumnTargets(classes=(), values=targets, kind="numbers", notes=notes)


def _there(columns: Mapping[str, pa.ChunkedArray], where: str) -> dict[str, pa.ChunkedArray]:
    """The columns of the splits that have targets; a target is never filled."""
    found = {}
    for split, column in columns.items():
        column = plain(column)
        bare = pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0
        if 0 < bare < len(column):
            raise DataError(f"{where}, split {split!r}: {bare:,} rows have no target; remove them")
        if not bare and len(column):
            found[split] = column
    return found


NO_CLASSES = {
    "numbers": "holds numbers with a fraction (floats), and classes are whole numbers or texts; to tell a number, use "
    "the task regression; for classes, store whole numbers",
}
"""Words for targets that are not classes, by what they are."""
