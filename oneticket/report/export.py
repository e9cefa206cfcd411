"""Writes rows to a file, reads them back, and joins several files: CSV, JSON or Parquet, by the file's ending."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneticket.ground import disk
from oneticket.ground.errors import SpecError, StoreError, unknown
from oneticket.study.rows import COLUMNS
from oneticket.study.settings import SETTINGS

if TYPE_CHECKING:
    import pandas


def check_rows(path: Path | None) -> None:
    """Raise SpecError, before any work, for a file that rows cannot be written to: its ending or its folder."""
    if path is None:
        return
    if path.suffix not in ENDINGS:
        raise SpecError(f"--rows {path}: {unknown('ending', path.suffix, ENDINGS)}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise SpecError(f"--rows {path}: expected a file in a folder that is there and can be written to")


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Write the given columns of the rows, in the format of the file's ending; the file is complete or not there.

    Raises StoreError if the file cannot be written.
    """
    import pandas

    try:
        disk.replace(path, ENDINGS[path.suffix](pandas.DataFrame(list(rows), columns=list(columns))))
    except OSError as error:
        raise StoreError(f"cannot write the rows to {path}: {error.strerror}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file from `write_rows`, with None for empty cells. Raises SpecError for any other file."""
    if path.suffix not in READERS:
        raise SpecError(f"{path}: {unknown('ending', path.suffix, READERS)}")
    try:
        frame = READERS[path.suffix](path)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: rows cannot be read: {error}") from None
    if "score" not in frame.columns and "accuracy" in frame.columns:  # versions before 0.2 wrote it so
        frame["score"] = frame["accuracy"]
    if lacking := [column for column in NEEDED if column not in frame.columns]:
        raise SpecError(f"{path}: expected rows that `--rows` wrote, got a table without {', '.join(lacking)}")
    for column in (column for column in TEXTS if column in frame.columns):
        frame[column] = frame[column].map(str, na_action="ignore")
    for column in TEXTS[:4]:
        if frame[column].isna().any():
            raise SpecError(f"{path}: expected a name in every row of {column}, got nothing")
    for column, (least, most) in NUMBERS.items():
        if column in frame.columns:
            _check_numbers(frame[column], least, most, str(path))
    for column, known in CHOICES.items():
        if column in frame.columns and not frame[column].dropna().isin(known).all():
            raise SpecError(f"{path}: expected {' or '.join(known)}, or nothing, in every row of {column}")
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def join_rows(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of several files of one study, with each network once, so that a study can be run in parts.

    Raises SpecError as `read_rows` does, if a network has different values in two files (other than how it was
    computed), and if two files give one name to different settings.
    """
    found: dict[tuple[object, ...], tuple[Path, dict[str, Any]]] = {}
    alike: dict[tuple[object, ...], tuple[Path, dict[str, Any]]] = {}
    rows: list[dict[str, Any]] = []
    for file in files:
        for row in read_rows(file):
            called = tuple(row.get(name) for name in CALLED)
            for seen, name, left_out in (
                (found, (*called, row["replicate"]), HOW),
                (alike, called, {*COLUMNS} - {*SAME}),
            ):
                there, first = seen.setdefault(name, (file, row))
                if there != file:
                    _check_same(first, row, {*COLUMNS} - {*left_out}, f"{there}, {file}")
            if found[(*called, row["replicate"])][0] == file:
                rows.append(row)
    return rows


def _check_same(one: Mapping[str, Any], other: Mapping[str, Any], columns: Set[str], files: str) -> None:
    for column in (column for column in COLUMNS if column in columns):
        values = one.get(column), other.get(column)
        if not _equal(*values):
            called = ", ".join(str(other[name]) for name in CALLED if other.get(name) is not None)
            raise SpecError(
                f"{files}: expected rows of one study, got two of {called}, replicates {one['replicate']} and "
                f"{other['replicate']}, that differ in {column}: {values[0]}, {values[1]}"
            )


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal in every format; JSON keeps ten digits."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) if numbers else str(one) == str(other)


def _check_numbers(column: pandas.Series[Any], least: float, most: float, path: str) -> None:
    import pandas

    given = column.dropna() if column.name not in NEEDED else column
    good = pandas.api.types.is_numeric_dtype(given) or not len(given)
    if not good or not given.between(least, most).all():
        raise SpecError(f"{path}: expected a number in every row of {column.name}, from {least:g} to {most:g}")


def _parquet(frame: pandas.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


ENDINGS: dict[str, Callable[[pandas.DataFrame], bytes]] = {
    ".csv": lambda frame: str(frame.to_csv(index=False)).encode(),
    ".json": lambda frame: str(frame.to_json(orient="records", indent=1)).encode(),
    ".parquet": _parquet,
}

NEEDED = ("arm", "level", "replicate", "score", "density", "model", "target_data", "target_optimizer")

TEXTS = ("arm", "model", "target_data", "target_optimizer", "metric", "unit", "better")
"""Columns of names, the first four of which say what a row is of."""

CALLED = (
    *("part", "equal", "model", "arm", "source_data", "source_optimizer", "source_id"),
    *("target_data", "target_optimizer", "level"),
)
"""The columns that say which network of a replicate a row is of."""

SAME = (
    *(*SETTINGS, *(f"source_{name}" for name in SETTINGS)),
    *("criterion", "scope", "granularity", "shots", "rewind", "head", "head_start", "start", "seed"),
)
"""The columns that all replicates of a network have in common."""

HOW = ("seconds", "device", "threads", "how")
"""The columns that say how a network was computed, which is no part of what it is."""

NUMBERS: dict[str, tuple[float, float]] = {
    "level": (0, 255),
    "replicate": (0, 1e9),
    "density": (0, 1),
    "score": (-1e100, 1e100),
    "living": (0, 2**53),
    "target_classes": (1, 2**53),
    "target_images": (1, 2**53),
    "commonest": (0, 1),
}
"""Columns that are reckoned with, and what they can be."""

CHOICES = {"equal": ("epochs", "steps"), "head_start": ("equal", "paper")}
"""Columns of a few known words."""


def _reader(name: str, **how: Any) -> Callable[[Path], pandas.DataFrame]:
    """One of pandas' readers, which is imported when the first file is read."""

    def read(path: Path) -> pandas.DataFrame:
        import pandas

        frame: pandas.DataFrame = getattr(pandas, name)(path, **how)
        return frame

    return read


READERS = {
    ".csv": _reader("read_csv"),
    ".json": _reader("read_json", orient="records"),
    ".parquet": _reader("read_parquet"),
}
