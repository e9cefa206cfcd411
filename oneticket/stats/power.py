"""Sample size: what few replicates can show, and how many are needed."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable

from oneticket.ground.errors import SpecError
from oneticket.ground.metric import METRICS, Metric
from oneticket.stats.stats import CONFIDENCE, finite, share
from oneticket.stats.words import percent

POWER = 0.8
MOST = 10_000_000
NOISE = 1e-12  # differences of equal accuracies differ by rounding


def smallest_difference(sd: float, n: int, power: float = POWER, confidence: float = CONFIDENCE) -> float:
    """The smallest true paired difference that n replicates show with the given power, in the unit of `sd`.

    It solves power = P(T² > t(n - 1)²) for δ, where T² follows F(1, n - 1) with noncentrality n · δ² / sd², and sd is
    the standard deviation of the differences. Raises SpecError if n < 2, sd is negative or not finite, a share is not
    in (0, 1), or the power is not above 1 - confidence. Cohen, 1988.

    >>> round(smallest_difference(sd=0.01, n=3), 3)
    0.033
    """
    _check(sd, power, confidence)
    if n < 2:
        raise SpecError(f"expected n of 2 or more, got {n}; add replicates")
    high = 1.0
    while _power(high, n, confidence) < power:
        high *= 2
    from scipy import optimize

    shift = optimize.brentq(lambda shift: _power(shift, n, confidence) - power, 1e-9, high)
    return float(shift) * sd / math.sqrt(n)


def replicates_needed(sd: float, difference: float, power: float = POWER, confidence: float = CONFIDENCE) -> int:
    """The fewest replicates, at least 2, that show a true paired difference of that size with the given power.

    The first n whose `smallest_difference` is no larger. Raises SpecError if the difference is not above 0 or needs
    more than ten million, or as `smallest_difference` does.

    >>> replicates_needed(sd=0.01, difference=0.01), replicates_needed(sd=0.01, difference=0.005)
    (10, 34)
    """
    _check(sd, power, confidence)
    if finite([difference])[0] <= 0:
        raise SpecError(f"difference: expected more than 0, got {difference}; say how small a one matters")
    if sd == 0:
        return 2

    def shown(n: int) -> bool:
        return smallest_difference(1, n, power, confidence) <= difference / sd

    enough = 2
    while not shown(enough):
        if enough > MOST:
            raise SpecError(f"difference: {difference:g} at a spread of {sd:g} takes more than {MOST:,} replicates")
        enough *= 2
    return enough // 2 + bisect_left(range(enough // 2, enough), True, key=shown) if enough > 2 else 2


def advice(differences: Iterable[float], wanted: float | None = 0.01, metric: Metric = METRICS["accuracy"]) -> str:
    """One sentence: the smallest difference that this number of replicates can show at 80 % power, and n for `wanted`.

    `differences`: paired ones, in the metric's unit; their spread is the estimate of sd.

    >>> advice([0.01, 0.02, 0.015]).partition("detect is ")[2]
    '1.7 points (80 % power); 1.0 points take n = 5.'
    >>> advice([0.01])
    'With n = 1 no difference can be detected, however large: add replicates.'
    """
    differences = list(differences)
    n = len(differences)
    if n == 0:
        return "Nothing was compared, so it is not known what could be detected."
    if n == 1:
        return "With n = 1 no difference can be detected, however large: add replicates."
    sd = statistics.stdev(finite(differences))
    if sd < NOISE:
        return f"The n = {n} differences are equal: no spread to judge by, so it is not known what could be detected."
    # Rounded up, so that the stated difference can be shown.
    smallest = math.ceil(1000 * smallest_difference(sd, n)) / 1000
    needed = 0 if wanted is None else replicates_needed(sd, wanted)
    more = "" if wanted is None or needed <= n else f"; {metric.size(wanted)} take n = {needed}"
    return (
        f"With n = {n} and the spread observed here, the smallest difference that you can detect is "
        f"{metric.size(smallest)} ({percent(POWER)} power){more}."
    )


def _power(shift: float, n: int, confidence: float) -> float:
    """The power for a true difference of `shift` standard errors."""
    from scipy.special import ncfdtr, stdtrit

    critical = float(stdtrit(n - 1, (1 + confidence) / 2))
    return float(1 - ncfdtr(1, n - 1, shift**2, critical**2))


def _check(sd: float, power: float, confidence: float) -> None:
    finite([sd])
    share("confidence", confidence)
    share("power", power)
    if sd < 0:
        raise SpecError(f"sd: expected 0 or more, got {sd}")
    if power <= 1 - confidence:
        raise SpecError(f"power: expected more than {1 - confidence:.3g}, which chance alone gives, got {power}")
