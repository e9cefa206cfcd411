"""The rule's result for some cells at one level, before it becomes a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from oneticket.claims.claim import Comparison, Outcome, Test
from oneticket.claims.pool import Pool
from oneticket.stats.stats import Interval


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The pool of the cells, each cell's comparison, the outcome, the notes, and the test behind it."""

    pool: Pool
    comparisons: tuple[Comparison, ...]
    outcome: Outcome
    notes: tuple[str, ...] = ()
    test: Test | None = None

    @property
    def effect(self) -> Interval | None:
        """The pooled effect; None where nothing could be pooled."""
        return self.pool.effect
