"""Growth: the gain on other data when a source's examples, or its classes, double."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from oneticket.claims.cells import ClaimCell, ClaimData, Grid, shared_levels
from oneticket.claims.claim import Comparison, Rule, compared, superior
from oneticket.claims.pool import Pool, pool
from oneticket.stats.stats import paired
from oneticket.stats.summary import Setting, places

Factor = Literal["examples", "classes"]
Point = tuple[float, ClaimCell]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Tickets in one setting whose sources are cut from one set and differ in one factor, in groups equal in the other.

    Each of `points` is a ticket and its source's position in the group: log2 of the factor minus the group's mean.
    """

    factor: Factor
    set: str
    points: tuple[Point, ...]

    @property
    def cells(self) -> list[ClaimCell]:
        """The tickets."""
        return [cell for _, cell in self.points]

    @property
    def levels(self) -> frozenset[int]:
        """The levels at which all of them can be compared."""
        return shared_levels(self.cells)

    @property
    def name(self) -> str:
        """What doubles, and where, in words."""
        setting = self.cells[0].setting
        at = f" at equal {setting.equal}" if setting.equal else ""
        return f"{self.factor} of {self.set}, on {setting.data} under {setting.optimizer} ({setting.model}){at}"

    @property
    def dense_trained(self) -> bool:
        """Whether the dense network on the target trained, as far as known."""
        return self.cells[0].dense_trained

    def slopes(self, level: int) -> dict[int, float]:
        """The gain of a doubling by replicate: the least-squares slope, with one intercept per group."""
        found = [cell.levels[level].values for cell in self.cells]
        shared = set[int].intersection(*(set(values) for values in found))
        at, metric = [place for place, _ in self.points], self.cells[0].setting.metric
        return {
            replicate: metric.gain(statistics.linear_regression(at, [values[replicate] for values in found]).slope, 0.0)
            for replicate in sorted(shared)
        }


def growths(grid: Grid) -> list[Growth]:
    """All growths of a study: tickets transferred under the update rule that found them.

    A ticket from several sets at once is left out, as it is not a larger cut of one of them.

    >>> from oneticket.claims.cells import grid
    >>> row = {"arm": "ticket", "model": "mlp", "level": 1, "density": 0.8, "target_data": "b", "target_name": "b"}
    >>> row |= {"source_optimizer": "sgd", "target_optimizer": "sgd", "target_classes": 10, "target_images": 720}
    >>> row |= {"source_classes": 10, "source_name": "a"}
    >>> rows = [
    ...     {**row, "source_data": name, "source_images": examples, "replicate": n, "accuracy": accuracy + n / 100}
    ...     for name, examples, accuracy in (("small", 100, 0.80), ("large", 400, 0.86))
    ...     for n in (0, 1)
    ... ]
    >>> (one,) = growths(grid(rows))
    >>> one.name, {replicate: round(slope, 2) for replicate, slope in one.slopes(level=1).items()}
    ('examples of a, on b under sgd (mlp)', {0: 0.03, 1: 0.03})
    """
    found: dict[tuple[Setting, str], list[tuple[ClaimCell, ClaimData]]] = {}
    for cell, source in grid.tickets:
        one = cell.same_update and source.apart(cell.target) and not source.several
        if one and source.examples and source.classes:
            found.setdefault((cell.setting, source.set), []).append((cell, source))
    made = []
    for (_, name), tickets in found.items():
        for factor, other in EQUAL.items():
            points = _points(tickets, factor, other)
            if points:
                made.append(Growth(factor=factor, set=name, points=tuple(points)))
    return made


def grown(found: Iterable[Growth], factor: Factor, level: int) -> Pool:
    """The slopes of one factor at that level, as a pool with one number per replicate.

    >>> grown([], "examples", 1).values
    {}
    """
    those = [one for one in found if one.factor == factor]
    seen = {replicate for one in those for cell in one.cells for replicate in cell.levels[level].values}
    return pool([one.slopes(level) for one in those], seen)


def comparisons(found: Iterable[Growth], level: int) -> tuple[Comparison, ...]:
    """One comparison per growth that has the level: its slopes against 0."""
    found = list(found)
    called = places(one.cells[0].levels[level] for one in found)
    made = [
        Comparison(
            what=f"twice the {one.factor} of {one.set} at equal {EQUAL[one.factor]}",
            against="once as many",
            model=one.cells[0].setting.model,
            where=called[one.cells[0].setting],
            level=level,
            density=statistics.fmean(cell.levels[level].density for cell in one.cells),
            paired=(alone := paired(slopes, dict.fromkeys(slopes, 0.0))),
            together=alone.difference,
        )
        for one in found
        if (slopes := one.slopes(level))
    ]
    return compared(made, ABOVE, 0.0)


def _points(tickets: Sequence[tuple[ClaimCell, ClaimData]], factor: Factor, other: Factor) -> list[Point]:
    groups: dict[int, list[Point]] = {}
    for cell, source in tickets:
        groups.setdefault(getattr(source, other), []).append((math.log2(getattr(source, factor)), cell))
    points = []
    for group in groups.values():
        middle = statistics.fmean(place for place, _ in group)
        if len({place for place, _ in group}) > 1:
            points += [(place - middle, cell) for place, cell in group]
    return points


# Words for a slope: the bound is 0, and no slope is too small to matter.
ABOVE = Rule(decide=superior, words="holds if it lies above 0, fails if it lies below 0, else undecided")

# Each factor, and the one that is kept equal.
EQUAL: dict[Factor, Factor] = {"examples": "classes", "classes": "examples"}
