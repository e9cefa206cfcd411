"""Statistics over replicates: means with intervals, paired differences, and the correction for many tests."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, TypeVar

import numpy as np

from oneticket.ground.canon import digest
from oneticket.ground.errors import SpecError

CONFIDENCE = 0.95
RESAMPLES = 9999
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over `n` replicates and the bounds of its interval, both None if n is too small.

    `method`: where the bounds come from, Student's t or one of the two bootstraps of `bootstrap_interval`.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    method: Literal["t", "BCa", "percentile"] = "t"

    @property
    def half(self) -> float | None:
        """Half the interval's width: the number after ±; None if n is 1."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """The mean of n paired differences with its interval, and p of the two-sided paired t-test (None if n is 1)."""

    difference: Interval
    p: float | None

    @property
    def sign(self) -> int | None:
        """1 (above) or -1 (below) if the interval excludes 0, 0 if it includes it, None without an interval."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return None
        return int(low > 0) - int(high < 0)


def mean_interval(values: Iterable[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean and its Student t interval: mean ± t(n - 1) · s / √n, where s is the sample's standard deviation.

    Equal values give an interval of width zero: no spread was observed, which is weak evidence with few replicates.
    Raises SpecError for no values, NaN or infinite ones, or a confidence outside (0, 1). Student, 1908.

    >>> interval = mean_interval([0.95, 0.96, 0.94])
    >>> round(interval.mean, 3), round(interval.low, 3), round(interval.high, 3)
    (0.95, 0.925, 0.975)
    """
    values = finite(values)
    share("confidence", confidence)
    n, mean = len(values), statistics.mean(values)
    if n == 1:
        return Interval(mean=mean, low=None, high=None, n=1)
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n)


def widened(interval: Interval, tests: int) -> Interval:
    """A 95 % Student t interval, widened so that `tests` of them hold simultaneously at 95 % (Bonferroni).

    >>> one = mean_interval([0.95, 0.96, 0.94])
    >>> two = widened(one, 2)
    >>> round(two.low, 3), round(one.low, 3), widened(one, 1) == one
    (0.914, 0.925, True)
    """
    if interval.low is None or interval.high is None or tests < 2:
        return interval
    from scipy.special import stdtrit

    alone, together = (float(stdtrit(interval.n - 1, 1 - (1 - CONFIDENCE) / 2 / count)) for count in (1, tests))
    low, high = (interval.mean + (end - interval.mean) * together / alone for end in (interval.low, interval.high))
    return replace(interval, low=low, high=high)


def bootstrap_interval(values: Iterable[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean and its bootstrap interval: bias-corrected and accelerated (BCa), percentiles where BCa is undefined.

    It assumes nothing about the distribution, but is too narrow for few values: never wider than their range. Below
    three values there are no bounds; equal values give width zero. The resamples come from a generator seeded with the
    digest of the sorted values, so equal values give equal intervals. Raises SpecError as `mean_interval` does. Efron,
    1987.

    >>> interval = bootstrap_interval([0.95, 0.96, 0.94, 0.95, 0.97])
    >>> round(interval.low, 3), round(interval.high, 3), interval.method
    (0.946, 0.964, 'BCa')
    """
    values = sorted(finite(values))
    share("confidence", confidence)
    n, mean = len(values), statistics.mean(values)
    if n < 3 or values[0] == values[-1]:
        bound = None if n < 3 else mean
        return Interval(mean=mean, low=bound, high=bound, n=n, method="BCa")
    low, high, method = math.nan, math.nan, METHODS[0]
    for method in METHODS:
        low, high = _bootstrapped(values, confidence, method)
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(mean=mean, low=low, high=high, n=n, method=method)


def paired(a: Mapping[int, float], b: Mapping[int, float], confidence: float = CONFIDENCE) -> Paired:
    """a minus b over their common replicates: mean difference, its t interval, and p of the paired t-test.

    `a`, `b`: replicate -> score. A control shares its replicate's random streams with its ticket, so that pairs differ
    in the arm only. Raises SpecError for no common replicate, or as `mean_interval` does.

    >>> paired({0: 0.95, 1: 0.96, 2: 0.94}, {0: 0.60, 1: 0.58, 2: 0.56, 3: 0.10}).difference.n
    3
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise SpecError(
            f"expected replicates that both arms have, got {sorted(a)} and {sorted(b)}; run them on the same"
        )
    differences = [a[replicate] - b[replicate] for replicate in shared]
    difference = mean_interval(differences, confidence)
    return Paired(difference=difference, p=_p(differences))


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """The p values of a family of tests, adjusted to control the chance of any false finding (Holm's step-down).

    In rising order the i-th of m is multiplied by m - i + 1; none is smaller than the one before it, or above 1. Raises
    SpecError for a p outside 0 to 1. Holm, 1979.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise SpecError(f"p of {name}: expected 0 to 1, got {p}; leave out comparisons that have none")
    m, rising = len(p_values), sorted(p_values, key=lambda name: p_values[name])
    steps = accumulate((min(1.0, (m - i) * p_values[name]) for i, name in enumerate(rising)), max)
    adjusted = dict(zip(rising, steps, strict=True))
    return {name: adjusted[name] for name in p_values}


def finite(values: Iterable[float]) -> list[float]:
    """The values as floats. Raises SpecError if there are none, and for NaN and infinite values.

    >>> finite([1, 0.5])
    [1.0, 0.5]
    """
    values = [float(value) for value in values]
    wrong = [value for value in values if not math.isfinite(value)]
    if not values or wrong:
        came = f"{wrong[0]} among {len(values)}" if values else "none"
        raise SpecError(f"expected one or more finite numbers, got {came}; leave failed replicates out and say so")
    return values


def share(name: str, value: float) -> None:
    """Raise a SpecError that names the value unless it lies between 0 and 1.

    >>> share("confidence", 0.95)
    """
    if not 0 < value < 1:
        raise SpecError(f"{name}: expected a number between 0 and 1, such as 0.95, got {value}")


def _p(differences: list[float]) -> float | None:
    n = len(differences)
    if n == 1:
        return None
    mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr

    return float(2 * stdtr(n - 1, -abs(mean) / error))


def _bootstrapped(values: list[float], confidence: float, method: Literal["BCa", "percentile"]) -> tuple[float, float]:
    from scipy.stats import bootstrap  # its import takes half as long as torch's, and it is seldom needed

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # an undefined result is NaN
        made = bootstrap(
            (values,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(int(digest(values), 16)),
        ).confidence_interval
    return float(made.low), float(made.high)


METHODS: tuple[Literal["BCa", "percentile"], ...] = ("BCa", "percentile")
