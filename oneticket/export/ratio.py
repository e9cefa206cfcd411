"""Ratios of times: their median, its interval, and how both are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median

LEAST = 6
"""The rounds without which a median has no 95 % interval by order statistics."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The median of the rounds' time ratios, and its 95 % interval by order statistics; no interval below n = 6."""

    median: float
    low: float | None
    high: float | None
    n: int

    @property
    def decided(self) -> bool:
        """Whether there is an interval, without which nothing is faster or slower."""
        return self.low is not None and self.high is not None

    @property
    def sign(self) -> int:
        """-1 (faster) or 1 (slower) if the interval, rounded to the two decimals shown, excludes 1; else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(round(self.low, 2) > 1) - int(round(self.high, 2) < 1)

    @property
    def bounds(self) -> str:
        """The interval in words."""
        if self.low is None or self.high is None:
            return "no interval"
        return f"{written(self.low)} to {written(self.high)}"


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The ratio of the seconds of two forms, in the same rounds.

    >>> ratio([2.0, 1.0, 3.0], [4.0, 4.0, 4.0])
    Ratio(median=0.5, low=None, high=None, n=3)
    """
    ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
    low, high = interval(ratios)
    return Ratio(median=median(ratios), low=low, high=high, n=len(ratios))


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float | None, float | None]:
    """A confidence interval of the median: the k-th value from either end, k by the binomial; None below six values.

    >>> interval([3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 7.0]), interval([1.0, 2.0])
    ((1.0, 7.0), (None, None))
    """
    n, beyond = len(values), 0.0
    for k in count():
        beyond += 2 * math.comb(n, k) / 2**n
        if beyond > 1 - confidence:
            break
    return (sorted(values)[k - 1], sorted(values)[n - k]) if k else (None, None)


def written(value: float) -> str:
    """A ratio of times: two decimals, and below 0.1 two significant digits, so that no ratio is 0.00.

    >>> written(0.0031), written(0.4), written(1.064), written(12.34)
    ('0.0031', '0.40', '1.06', '12.34')
    """
    below = -math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(2, below + 1)}f}"
