from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy import stats as scipy_stats

from oneticket.ground.errors import SpecError
from oneticket.report.stats import Interval, mean_interval, paired, smallest_difference


def draws(seed: int, n: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(0.9, 0.02) for _ in range(n)]


@pytest.mark.parametrize("n", [2, 3, 6, 40])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_interval_is_scipys(n: int, confidence: float) -> None:
    values = draws(n, n)
    got = mean_interval(values, confidence)
    low, high = scipy_stats.t.interval(confidence, n - 1, loc=statistics.fmean(values), scale=scipy_stats.sem(values))
    assert (got.low, got.high) == pytest.approx((low, high), rel=1e-12)
    assert (got.mean, got.n, got.half) == (pytest.approx(statistics.fmean(values)), n, pytest.approx((high - low) / 2))


def test_interval_of_known_numbers() -> None:
    """t(0.975, 2) = 4.302653 from any table; s = 0.01, n = 3."""
    assert mean_interval([0.94, 0.95, 0.96]).half == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)


def test_interval_covers_as_often_as_it_says() -> None:
    held = [mean_interval(draws(seed, 3)) for seed in range(2000)]
    assert sum(one.low <= 0.9 <= one.high for one in held) / 2000 == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval() -> None:
    assert mean_interval([0.9]) == Interval(mean=0.9, low=None, high=None, n=1)
    assert mean_interval([0.9]).half is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_interval([0.9] * 3) == Interval(mean=0.9, low=0.9, high=0.9, n=3)


@pytest.mark.parametrize("values", [[], [0.9, math.nan], [math.inf, 0.9]])
def test_values_that_are_no_numbers_are_refused(values: list[float]) -> None:
    with pytest.raises(SpecError, match="finite numbers, got"):
        mean_interval(values)
    with pytest.raises(SpecError):
        paired(dict(enumerate(values)), dict(enumerate([0.9, 0.9])))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_paired_is_scipys(n: int) -> None:
    a, b = draws(1, n), draws(2, n)
    got = paired(dict(enumerate(a)), dict(enumerate(b)))
    expected = scipy_stats.ttest_rel(a, b)
    bounds = expected.confidence_interval(0.95)
    assert got.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (got.difference.low, got.difference.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)
    back = paired(dict(enumerate(b)), dict(enumerate(a)))
    assert (back.difference.mean, back.p) == (pytest.approx(-got.difference.mean), pytest.approx(got.p))


def test_only_replicates_in_both_are_paired() -> None:
    got = paired({0: 0.9, 1: 0.8, 7: 0.1}, {1: 0.5, 0: 0.6, 2: 0.0})
    assert (got.difference.n, got.difference.mean) == (2, pytest.approx(0.3))
    with pytest.raises(SpecError, match=r"got \[0\] and \[1\]"):
        paired({0: 0.9}, {1: 0.9})


@pytest.mark.parametrize(
    ("a", "p", "seen"),
    [
        ([0.5, 0.5, 0.5], 1.0, 0),
        ([0.75, 0.75, 0.75], 0.0, 1),
        ([0.25, 0.25, 0.25], 0.0, -1),
        ([0.75], None, None),
        ([0.75, 0.76, 0.74], pytest.approx(0.00053, abs=1e-5), 1),
        ([0.25, 0.26, 0.24], pytest.approx(0.00053, abs=1e-5), -1),
        ([0.2, 0.9, 0.5], pytest.approx(0.8845, abs=1e-4), 0),
    ],
)
def test_what_a_paired_difference_shows(a: list[float], p: float | None, seen: int | None) -> None:
    got = paired(dict(enumerate(a)), dict.fromkeys(range(3), 0.5))
    assert (got.p, got.seen) == (p, seen)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_sample_sizes_are_those_of_the_power_tables(effect: float, n: int) -> None:
    """Paired t-test, two-sided 0.05, power 0.8: the published n is the first one that shows the effect."""
    assert smallest_difference(sd=1, n=n) <= effect < smallest_difference(sd=1, n=n - 1)


def test_the_smallest_difference_is_seen_as_often_as_it_says() -> None:
    shift = smallest_difference(sd=0.02, n=4)
    hits = [paired(dict(enumerate(draws(seed, 4))), dict.fromkeys(range(4), 0.9 - shift)).seen for seed in range(2000)]
    assert hits.count(1) / 2000 == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n", [2, 3, 5, 30, 1000])
def test_the_smallest_difference_scales(n: int) -> None:
    one = smallest_difference(sd=1, n=n)
    assert smallest_difference(sd=0.01, n=n) == pytest.approx(one / 100)
    assert smallest_difference(sd=1, n=n, power=0.9) > one > smallest_difference(sd=1, n=n + 1)
    assert smallest_difference(sd=0, n=n) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sd": 1, "n": 1}, "add replicates"),
        ({"sd": -1, "n": 3}, "sd of 0 or more"),
        ({"sd": math.nan, "n": 3}, "finite"),
        ({"sd": 1, "n": 3, "power": 1.0}, "power: expected"),
        ({"sd": 1, "n": 3, "power": 0.05}, "chance alone"),
        ({"sd": 1, "n": 3, "confidence": 95}, "such as 0.95, got 95"),
    ],
)
def test_impossible_requests_are_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        smallest_difference(**arguments)
