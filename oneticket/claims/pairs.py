"""Pairs: a ticket and what it is compared with in the same setting, and their comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oneticket.claims.cells import ClaimCell, shared_levels
from oneticket.claims.claim import Comparison, Rule, compared
from oneticket.claims.pool import Pool, pool
from oneticket.stats.summary import over, places

NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A ticket and the network it is compared with; None if that was not trained.

    >>> from oneticket.claims.cells import grid
    >>> row = {"model": "mlp", "target_data": "b", "target_optimizer": "sgd", "target_name": "b", "source_name": "a"}
    >>> row |= {"source_data": "a", "source_optimizer": "sgd", "level": 1, "density": 0.8, "replicate": 0}
    >>> row |= {"source_classes": 10, "source_images": 720, "target_classes": 10, "target_images": 720}
    >>> found = grid([{**row, "arm": "ticket", "accuracy": 0.9}, {**row, "arm": "reinit", "accuracy": 0.8}])
    >>> ticket, rival = sorted(found.cells.values(), key=lambda cell: cell.line.arm, reverse=True)
    >>> pair = Pair(ticket=ticket, rival=rival)
    >>> pair.levels, round(pair.differences(level=1)[0], 3)
    (frozenset({1}), 0.1)
    """

    ticket: ClaimCell
    rival: ClaimCell | None

    @property
    def levels(self) -> frozenset[int]:
        """The levels at which the two can be compared."""
        return frozenset() if self.rival is None else shared_levels([self.ticket, self.rival])

    @property
    def name(self) -> str:
        """The ticket and its place, in words."""
        return self.ticket.place

    def differences(self, level: int) -> dict[int, float]:
        """By how much the ticket is better, by replicate."""
        there = {} if self.rival is None else self.rival.levels[level].values
        return self.ticket.setting.metric.gains(self.ticket.levels[level].values, there)


def pooled(pairs: Sequence[Pair], level: int) -> Pool:
    """The differences of all pairs at that level, one number per replicate."""
    cells = [cell for pair in pairs for cell in (pair.ticket, pair.rival) if cell is not None]
    seen = {replicate for cell in cells for replicate in cell.levels[level].values}
    return pool([pair.differences(level) for pair in pairs], seen)


def comparisons(pairs: Sequence[Pair], level: int, rule: Rule, margin: float | None) -> tuple[Comparison, ...]:
    """One comparison per pair that has the level, each with its interval and the rule's outcome."""
    called = places(pair.ticket.levels[level] for pair in pairs)
    made = []
    for pair in pairs:
        ticket = pair.ticket.levels[level]
        found = None if pair.rival is None else over(ticket, pair.rival.levels[level])
        if pair.rival is not None and found is not None:
            one = Comparison(
                what=pair.ticket.name,
                against=pair.rival.name,
                model=ticket.setting.model,
                where=called[ticket.setting],
                level=level,
                density=ticket.density,
                paired=found,
                together=found.difference,
            )
            made.append(one)
    return compared(made, rule, margin)


def names(pairs: Iterable[Pair]) -> str:
    """The first few pairs by name, and how many more there are."""
    return some(pair.name for pair in pairs)


def some(named: Iterable[str]) -> str:
    """The first few of those names, each once, and how many more there are.

    >>> some(["a", "b", "a", "c", "d", "e"])
    'a; b; c; and 2 more'
    """
    every = list(dict.fromkeys(named))
    more = f"; and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return "; ".join(every[:NAMED]) + more
