"""Equivalence: tests that two arms are equal within a margin, which a nonsignificant difference does not show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from oneticket.ground.errors import SpecError
from oneticket.stats.stats import CONFIDENCE, Interval, finite, paired


@dataclass(frozen=True, kw_only=True, slots=True)
class Equivalence:
    """The mean difference with the deciding interval (90 % for a test at 5 %), the margin, and p.

    p and the bounds are None when n is 1.
    """

    difference: Interval
    margin: float
    p: float | None
    confidence: float

    @property
    def shown(self) -> bool | None:
        """Whether it is shown at the level of the test; None if n is 1. Not shown does not mean different."""
        return None if self.p is None else self.p < 1 - self.confidence


def equivalent(
    a: Mapping[int, float], b: Mapping[int, float], margin: float, confidence: float = CONFIDENCE
) -> Equivalence:
    """Whether a and b differ by less than the margin: two one-sided t-tests (TOST) on the paired differences.

    p is the larger of the tests against -margin and against margin; equivalence is shown at 5 % if the 90 % interval
    lies within them. `a`, `b`: replicate -> score; `margin` in the unit of the scores. Raises SpecError for a margin
    that is not above 0, or as `paired` does. Schuirmann, 1987; Lakens, 2017.

    >>> test = equivalent({0: 0.950, 1: 0.948, 2: 0.949}, {0: 0.949, 1: 0.949, 2: 0.950}, margin=0.02)
    >>> test.shown, round(test.p, 4)
    (True, 0.0006)
    """
    differences, difference = _paired(a, b, margin, confidence)
    above, below = _above(differences, -margin), _above([-value for value in differences], -margin)
    p = None if above is None or below is None else max(above, below)
    return Equivalence(difference=difference, margin=margin, p=p, confidence=confidence)


def non_inferior(
    a: Mapping[int, float], b: Mapping[int, float], margin: float, confidence: float = CONFIDENCE
) -> Equivalence:
    """Whether a is at most the margin below b: the one-sided t-test of the paired differences against -margin.

    It is shown at 5 % if the lower bound of the 90 % interval lies above -margin. Arguments and errors as for
    `equivalent`. Lakens, 2017.

    >>> non_inferior({0: 0.99, 1: 0.97, 2: 0.98}, {0: 0.90, 1: 0.91, 2: 0.90}, margin=0.02).shown
    True
    """
    differences, difference = _paired(a, b, margin, confidence)
    return Equivalence(difference=difference, margin=margin, p=_above(differences, -margin), confidence=confidence)


def _paired(
    a: Mapping[int, float], b: Mapping[int, float], margin: float, confidence: float
) -> tuple[list[float], Interval]:
    if finite([margin])[0] <= 0:
        raise SpecError(f"margin: expected more than 0, got {margin}; say which difference would not matter")
    if not 0.5 < confidence < 1:
        raise SpecError(f"confidence: expected a number between 0.5 and 1, such as 0.95, got {confidence}")
    difference = paired(a, b, 2 * confidence - 1).difference
    return [a[replicate] - b[replicate] for replicate in sorted(a.keys() & b.keys())], difference


def _above(differences: list[float], bound: float) -> float | None:
    """p of the one-sided t-test that the mean lies above the bound; None if n is 1."""
    n = len(differences)
    if n == 1:
        return None
    above, error = statistics.mean(differences) - bound, statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        return 0.0 if above > 0 else 1.0
    from scipy.special import stdtr

    return float(stdtr(n - 1, -above / error))
