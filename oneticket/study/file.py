"""Study files: TOML, with includes that a variant is laid over, and mistakes named by their place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneticket.ground.errors import SpecError, unknown
from oneticket.ground.spec import over, short
from oneticket.study.complexity import check_complexity
from oneticket.study.spec import StudySpec
from oneticket.study.toml import depth_of, located, toml, with_field

Layer = tuple[Path, Mapping[str, Any]]

DEEPEST, MOST_FILES = 20, 100
"""How many files may include one another in a row, and be read in all: one that is included twice is read twice."""


def read_study(path: Path) -> StudySpec:
    """The study that a file describes; a name without a folder and an ending is one of those that are shipped.

    `include` names files (from the same folder) or else shipped studies, which lie under this one, table by table, the
    last one on top. Raises SpecError for a file that is missing, no TOML, or includes itself or too many, and for every
    mistake, with its file, line and place.

    >>> read_study(Path("demo")).replicates
    3
    """
    layers = _layers(_file(path), (), [])
    merged: dict[str, Any] = {}
    for _, layer in layers:
        # A study's name is a label: another name does not make it another thing.
        named = {"name": layer["name"]} if "name" in layer else {}
        merged = {**over(merged, {key: value for key, value in layer.items() if key != "name"}), **named}
    merged.setdefault("name", path.stem)
    try:
        study = StudySpec.read(merged)
        check_complexity(study)
        return study
    except SpecError as error:
        lines = [_with_line(line.removeprefix("study."), layers) for line in str(error).splitlines()]
        raise SpecError("\n".join(lines)) from None


def with_lines(path: Path, said: str) -> str:
    """Mistakes found in the plan of a study file, each with its file and line; as they are where no file has them."""
    layers = _layers(_file(path), (), [])
    return "\n".join(_with_line(line, layers) if _depth(line, layers) else line for line in said.splitlines())


def _file(path: Path) -> Path:
    """The study file of that path, or a shipped one of that name."""
    if path.parent != Path() or path.suffix or os.path.isfile(path):
        return path
    if path.name in _shipped():
        return SHIPPED / f"{path}.toml"
    if path.is_dir():
        raise SpecError(f"{path}: is a folder; give the path of a study file (.toml)")
    raise SpecError(f"{unknown('study', path.name, _shipped())}; or give the path of a study file (.toml)")


def _layers(path: Path, within: tuple[str, ...], read: list[Path]) -> list[Layer]:
    """The files that this one includes, and then itself; `read` has all that were read so far."""
    try:
        real = os.path.realpath(path)
    except ValueError as error:  # a NUL, or signs that this machine's file names do not have
        raise SpecError(f"{str(path)!r}: cannot be the name of a file: {error}") from None
    if real in within:
        chain = " -> ".join(os.path.basename(name) for name in (*within, real))
        raise SpecError(f"{path}: includes itself: {chain}; take one include out")
    if len(within) >= DEEPEST or len(read) >= MOST_FILES:
        limit = f"{DEEPEST} files in a row" if len(within) >= DEEPEST else f"{MOST_FILES} files in all"
        raise SpecError(f"{path}: includes may take a study to at most {limit}; write some of them into one file")
    read.append(path)
    table = _table(path)
    include = table.pop("include", [])
    names = [include] if isinstance(include, str) else include
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{path}: include: expected the name of a file, or a list of them, got {short(include)}")
    found = [layer for name in names for layer in _layers(_included(path, name), (*within, real), read)]
    return [*found, (path, table)]


def _included(path: Path, name: str) -> Path:
    """The file that a study includes: one beside it, else a shipped one of that name, with or without its ending."""
    beside, stem = path.parent / name, name.removesuffix(".toml")
    return SHIPPED / f"{stem}.toml" if stem in _shipped() and not os.path.lexists(beside) else beside


def _table(path: Path) -> dict[str, Any]:
    if os.path.lexists(path):
        return toml(path)
    shipped = ", ".join(_shipped())
    raise SpecError(f"{path}: no such file; expected a study file (.toml); or one that is shipped: {shipped}")


def _with_line(line: str, layers: Sequence[Layer]) -> str:
    """A mistake with the file that made it: the topmost with most of that place."""
    place = _place(line, layers)
    path, _ = max(reversed(layers), key=lambda layer: depth_of(layer[1], with_field(place, line)))
    return located(path, place, line)


def _depth(line: str, layers: Sequence[Layer]) -> int:
    """How much of a mistake's place any of these files has."""
    return max(depth_of(table, with_field(_place(line, layers), line)) for _, table in layers)


def _place(line: str, layers: Sequence[Layer]) -> tuple[str, ...]:
    """The place that a mistake is about.

    Of `parts.halves, source digits:a: search.rewind: ...` it is the part's `rewind` or the study's, if a file has it,
    else the part.
    """
    head, _, rest = line.partition(": ")
    where = head.partition(", ")[0]
    place = () if where == StudySpec.kind else tuple(where.split("."))
    named = _OF_SPEC.match(rest)
    field = tuple(named[1].split(".")) if named else ()
    for each in ((*place, *field), field) if field else ():
        if any(depth_of(table, each) == len(each) for _, table in layers):
            return each
    return place


def _shipped() -> list[str]:
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


SHIPPED = Path(__file__).parents[1] / "studies"

_OF_SPEC = re.compile(r"(?:search|transfer)\.([\w.]+): ")
