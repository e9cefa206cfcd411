"""Statistics of replicates: means with their intervals, paired differences, and what so few replicates can show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scipy import optimize
from scipy.stats import ncf, t

from oneticket.ground.errors import SpecError

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over `n` replicates and the bounds of its interval, both None when n is 1."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the interval's width: the number after ±; None when n is 1."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """The mean of n paired differences with its interval, and the two-sided paired t-test's p (None when n is 1)."""

    difference: Interval
    p: float | None

    @property
    def seen(self) -> int | None:
        """1 (above) or -1 (below) when the interval leaves out 0, 0 when it does not, None when there is none."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return None
        return int(low > 0) - int(high < 0)


def mean_interval(values: Iterable[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean and its Student t interval: mean ± t(n - 1) · s / √n, with s the standard deviation of the sample.

    Equal values give an interval of no width: the sample shows no spread, which with few replicates is weak evidence.
    Raises SpecError for no values, NaN or infinite ones, or a confidence outside (0, 1). Student, 1908.

    >>> interval = mean_interval([0.95, 0.96, 0.94])
    >>> round(interval.mean, 3), round(interval.low, 3), round(interval.high, 3)
    (0.95, 0.925, 0.975)
    """
    values = _finite(values)
    _share("confidence", confidence)
    n, mean = len(values), statistics.mean(values)
    if n == 1:
        return Interval(mean=mean, low=None, high=None, n=1)
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n)


def paired(a: Mapping[int, float], b: Mapping[int, float], confidence: float = CONFIDENCE) -> Paired:
    """a minus b over the replicates that both have: mean difference, its t interval, and p of the paired t-test.

    A control shares its replicate's random streams with its ticket, so that pairs differ in the arm alone.
    Raises SpecError if no replicate is in both, or as `mean_interval` does.

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


def smallest_difference(sd: float, n: int, power: float = 0.8, confidence: float = CONFIDENCE) -> float:
    """The smallest true paired difference that n replicates show with the given power, in the unit of `sd`.

    It solves power = P(T² > t(n - 1)²) for δ, where T² follows F(1, n - 1) with noncentrality n · δ² / sd², and sd is
    the standard deviation of the differences. Raises SpecError if n < 2, sd is negative or not finite, a share is not
    in (0, 1), or the power is not above 1 - confidence. Cohen, 1988.

    >>> round(smallest_difference(sd=0.01, n=3), 3)
    0.033
    """
    _finite([sd])
    _share("confidence", confidence)
    _share("power", power)
    if n < 2 or sd < 0:
        raise SpecError(f"expected n of 2 or more and sd of 0 or more, got n = {n} and sd = {sd}; add replicates")
    if power <= 1 - confidence:
        raise SpecError(f"power: expected more than {1 - confidence:.3g}, which chance alone gives, got {power}")
    critical = float(t.ppf((1 + confidence) / 2, n - 1))

    def lack(shift: float) -> float:
        return float(ncf.sf(critical**2, 1, n - 1, shift**2)) - power

    high = 1.0
    while lack(high) < 0:
        high *= 2
    return float(optimize.brentq(lack, 1e-9, high)) * sd / math.sqrt(n)


def _p(differences: list[float]) -> float | None:
    n = len(differences)
    if n == 1:
        return None
    mean, error = statistics.mean(differences), statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / error, n - 1))


def _finite(values: Iterable[float]) -> list[float]:
    values = [float(value) for value in values]
    wrong = [value for value in values if not math.isfinite(value)]
    if not values or wrong:
        came = f"{wrong[0]} among {len(values)}" if values else "none"
        raise SpecError(f"expected one or more finite numbers, got {came}; leave failed replicates out and say so")
    return values


def _share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise SpecError(f"{name}: expected a number between 0 and 1, such as 0.95, got {value}")
