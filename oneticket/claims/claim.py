"""A claim's values: a verdict, the comparisons behind it, and the rules by which an effect decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from oneticket.stats.stats import CONFIDENCE, Interval, Paired, holm
from oneticket.stats.summary import Row
from oneticket.stats.words import within

Outcome = Literal["holds", "fails", "undecided", "not tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What is above what, by how much, and where: one cell behind a verdict.

    `adjusted`: p of the paired t-test after Holm's correction over the verdict's comparisons; None when n is 1.
    """

    what: str
    against: str
    model: str
    where: str
    level: int
    density: float
    paired: Paired
    adjusted: float | None = None

    @property
    def seen(self) -> int | None:
        """1 (above) or -1 (below) when the adjusted p is under 5 %, 0 when it is not, None when there is none."""
        if self.adjusted is None:
            return None
        mean = self.paired.difference.mean
        return int(mean > 0) - int(mean < 0) if self.adjusted < 1 - CONFIDENCE else 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a study says of a claim.

    `effect`: the pooled difference that decided, in `unit`, None where nothing could be pooled. `rule`: how it was
    decided, in words and numbers, as applied. `margin`: which difference would not matter, None where the rule has
    none. `comparisons`: every cell behind it. `advice`: what so many replicates can show. `notes`: what else to know.
    """

    claim: str
    statement: str
    outcome: Outcome
    effect: Interval | None
    unit: str
    margin: float | None
    rule: str
    comparisons: tuple[Comparison, ...]
    advice: str
    notes: tuple[str, ...]


Claim = Callable[[Sequence[Row]], Verdict]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How an effect decides within a margin, and the same in words, with {margin} in the margin's place."""

    decide: Callable[[Interval, float], Outcome]
    words: str


def superior(effect: Interval, margin: float) -> Outcome:
    """Holds if the interval lies above 0; fails if it lies below 0 or within ±margin; undecided else.

    >>> superior(Interval(mean=0.04, low=0.01, high=0.07, n=3), 0.02)
    'holds'
    >>> superior(Interval(mean=0.04, low=-0.01, high=0.09, n=3), 0.02)
    'undecided'
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    if effect.low > 0:
        return "holds"
    return "fails" if effect.high < 0 or (effect.low > -margin and effect.high < margin) else "undecided"


def non_inferior(effect: Interval, margin: float) -> Outcome:
    """Holds if the interval lies above -margin; fails if it lies below -margin; undecided else.

    >>> non_inferior(Interval(mean=0.0, low=-0.01, high=0.01, n=3), 0.02)
    'holds'
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    return "holds" if effect.low > -margin else "fails" if effect.high < -margin else "undecided"


def family(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with their p adjusted over all of them (Holm, 1979)."""
    comparisons = tuple(comparisons)
    adjusted = holm({at: one.paired.p for at, one in enumerate(comparisons) if one.paired.p is not None})
    return tuple(replace(one, adjusted=adjusted.get(at)) for at, one in enumerate(comparisons))


def said(effect: Interval) -> str:
    """An effect in a sentence: its mean, interval and n, and what was seen.

    >>> said(Interval(mean=0.04, low=0.01, high=0.07, n=3))
    '0.040 [0.010, 0.070], n = 3: above 0'
    """
    if effect.low is None or effect.high is None:
        return f"{within(effect)}: no interval can be given"
    seen = "above 0" if effect.low > 0 else "below 0" if effect.high < 0 else "not seen to differ from 0"
    return f"{within(effect)}, n = {effect.n}: {seen}"


SUPERIOR = Rule(
    decide=superior, words="holds if it lies above 0, fails if it lies below 0 or within ±{margin}, else undecided"
)
NON_INFERIOR = Rule(
    decide=non_inferior,
    words="holds if it lies above −{margin} and no cell's own below it, fails if it lies below, else undecided",
)
