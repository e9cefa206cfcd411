"""Stated densities: which planned level each of them means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oneticket.ground.errors import SpecError
from oneticket.study.cells import Cell

TOLERANCE = 0.1
"""How far the level's density may be from the stated one, as a share of it: levels of a fifth are a ninth apart."""


def levels_of(densities: Iterable[float], cells: Iterable[Cell]) -> dict[float, int]:
    """The level nearest to each density. Parts without one near enough have no verdict there.

    Raises SpecError, with the levels' densities, if no part has one, if parts mean different levels, and if two
    densities mean the same level.
    """
    planned = _planned(cells)
    found: dict[float, int] = {}
    for density in densities:
        meant = {
            part: level for part, levels in planned.items() if (level := nearest_level(density, levels)) is not None
        }
        if not meant:
            raise SpecError(
                f"densities: {density:g} is no planned level's density, to within a tenth; {_said(planned)}"
            )
        if len(set(meant.values())) > 1:
            several = ", ".join(f"level {level} in {part}" for part, level in meant.items())
            raise SpecError(
                f"densities: {density:g} means {several}, and claims compare one level; give these parts the same "
                "pruning, or studies of their own"
            )
        found[density] = next(iter(meant.values()))
    for level in found.values():
        twins = [f"{other:g}" for other, same in found.items() if same == level]
        if len(twins) > 1:
            raise SpecError(f"densities: {' and '.join(twins)} both mean level {level}; {_said(planned)}")
    return found


def _planned(cells: Iterable[Cell]) -> dict[str, dict[int, float]]:
    """Part and model -> level -> density, of the pruned levels that are compared."""
    found: dict[str, dict[int, float]] = {}
    for cell in cells:
        remaining = cell.origin.remaining if cell.origin else {}
        if cell.level and 0 in remaining:
            where = f"{cell.part or 'the study'} ({cell.called.model})"
            found.setdefault(where, {})[cell.level] = remaining[cell.level] / remaining[0]
    return found


def nearest_level(density: float, levels: Mapping[int, float]) -> int | None:
    """The level whose density is nearest to this one; None where none is within `TOLERANCE`."""
    level = min(levels, key=lambda level: abs(levels[level] - density))
    return level if abs(levels[level] - density) <= TOLERANCE * density else None


def _said(planned: Mapping[str, Mapping[int, float]]) -> str:
    each = dict.fromkeys(
        ", ".join(f"{level} ({density:.3g})" for level, density in sorted(levels.items()))
        for levels in planned.values()
    )
    return f"the levels are {'; or '.join(each) or 'none'}: state one of these densities, or plan another level"
