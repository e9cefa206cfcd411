"""Pools: one number per replicate from many cells, so that intervals count replicates and not cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oneticket.ground.metric import Metric
from oneticket.stats.power import advice
from oneticket.stats.stats import Interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The mean over all cells, for every replicate that has them all; `left` counts replicates with only some cells."""

    values: Mapping[int, float]
    left: int

    @property
    def effect(self) -> Interval | None:
        """The mean over replicates with its 95 % Student t interval; None if no replicate has all cells."""
        return mean_interval(self.values.values()) if self.values else None

    @property
    def counted(self) -> str:
        """The replicates that count, in words."""
        n = len(self.values)
        ones = "the one replicate that has all cells" if n == 1 else f"the {n or ''} replicates that have all cells"
        return ones.replace("  ", " ") + (f" ({self.left} left out)" if self.left else "")

    def advice(self, metric: Metric, wanted: float | None = None) -> str:
        """What this number of replicates can show, and how many are needed to show `wanted`."""
        return advice(self.values.values(), wanted, metric)


def pool(cells: Iterable[Mapping[int, float]], seen: Iterable[int] = ()) -> Pool:
    """Cells of paired differences (or slopes) by replicate, pooled: the mean of each replicate that all cells have.

    Cells of one replicate share their random streams and their controls, so they are not independent evidence. `seen`:
    replicates with any rows, also those without a difference.

    >>> pool([{0: 0.25, 1: 0.5}, {0: 0.75, 1: 0.5, 2: 0.0}], seen=[0, 1, 2, 3])
    Pool(values={0: 0.5, 1: 0.5}, left=2)
    """
    cells = list(cells)
    every = set[int].intersection(*(set(cell) for cell in cells)) if cells else set()
    values = {replicate: statistics.fmean(cell[replicate] for cell in cells) for replicate in sorted(every)}
    return Pool(values=values, left=len(set(seen).union(*cells) - every))
