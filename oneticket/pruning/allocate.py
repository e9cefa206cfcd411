"""Allocation: how many weights, or units, each group of tensors loses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from oneticket.ground.errors import SpecError
from oneticket.ground.table import Table
from oneticket.pruning.spec import SCOPES as NAMES

Scope = Callable[[Sequence[str]], Iterable[Sequence[str]]]
"""From the names of all prunable tensors to the groups that they are pruned in: each name in one group, once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Prune `prune` of the remaining weights of the tensors `names`, taken together."""

    names: tuple[str, ...]
    prune: int


def whole(names: Sequence[str]) -> list[tuple[str, ...]]:
    """One group of all tensors: a single threshold, so layers end at different densities."""
    return [tuple(sorted(names))]


def layerwise(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every tensor a group of its own: layers stay at equal density."""
    return [(name,) for name in sorted(names)]


def groups(scope: str, names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of a scope: a known one, or your own, a function from names to lists of names.

    Raises SpecError for an unknown scope, and for one of your own that fails or does not group each name once.

    >>> groups("layerwise", ["b", "a"])
    [('a',), ('b',)]
    """
    names = sorted(names)
    rule = SCOPES.resolve(scope)
    with SCOPES.blamed(scope):
        found = [tuple(group) for group in rule(names)]
    counts = Counter(name for group in found for name in group)
    if counts != Counter(names):
        wrong = sorted(map(str, {*names, *counts} - {name for name in names if counts[name] == 1}))
        raise SpecError(f"scope {scope!r}: expected each name in one group, once; got it wrong for {', '.join(wrong)}")
    return found


def allocate(
    scope: str,
    *,
    counts: Mapping[str, int],
    fraction: float,
    allow_empty: bool = True,
    least: Mapping[str, int] | None = None,
) -> tuple[Share, ...]:
    """The shares of a level: a group of `n` remaining weights loses `floor(fraction * n)`.

    Each of its tensors keeps at least as many weights as `least` says, or one with `allow_empty=False`. `counts`: name
    of a tensor -> its remaining weights. Raises SpecError for an unknown scope.

    >>> allocate("global", counts={"a": 10, "b": 5}, fraction=0.2)
    (Share(names=('a', 'b'), prune=3),)
    """
    kept = least or {name: int(not allow_empty) for name in counts}
    shares = []
    for names in groups(scope, counts):
        total, stay = sum(counts[name] for name in names), sum(min(counts[name], kept[name]) for name in names)
        shares.append(Share(names=names, prune=_loss(total, stay, fraction)))
    return tuple(shares)


def remaining(
    scope: str,
    *,
    counts: Mapping[str, int],
    fraction: float,
    levels: int,
    allow_empty: bool = True,
    least: Mapping[str, int] | None = None,
) -> int:
    """How many weights remain after so many levels, of tensors with so many weights: the rule needs no scores.

    >>> remaining("global", counts={"a": 10, "b": 5}, fraction=0.2, levels=2)
    10
    """
    kept = least or {name: int(not allow_empty and counts[name] > 0) for name in counts}
    total = 0
    for share in allocate(scope, counts=counts, fraction=fraction):
        left, stay = sum(counts[name] for name in share.names), sum(kept[name] for name in share.names)
        for _ in range(levels):
            left -= _loss(left, stay, fraction)
        total += left
    return total


def _loss(count: int, kept: int, fraction: float) -> int:
    """As written: 0.2 means one fifth, not the binary number just above it."""
    return min(int(_written(fraction) * count), count - kept)


@lru_cache
def _written(fraction: float) -> Fraction:
    return Fraction(str(fraction))


SCOPES: Table[Scope] = NAMES.filled({"global": whole, "layerwise": layerwise})
