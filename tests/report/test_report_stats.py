from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from oneticket.ground.errors import SpecError
from oneticket.stats.equivalence import equivalent, non_inferior
from oneticket.stats.power import advice, replicates_needed, smallest_difference
from oneticket.stats.stats import Interval, bootstrap_interval, holm, mean_interval, paired

accuracies = st.floats(0, 1).map(lambda value: round(value, 4))


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
    assert (got.p, got.sign) == (p, seen)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_sample_sizes_are_those_of_the_power_tables(effect: float, n: int) -> None:
    """Paired t-test, two-sided 0.05, power 0.8: the published n is the first one that shows the effect."""
    assert smallest_difference(sd=1, n=n) <= effect < smallest_difference(sd=1, n=n - 1)


def test_the_smallest_difference_is_seen_as_often_as_it_says() -> None:
    shift = smallest_difference(sd=0.02, n=4)
    hits = [paired(dict(enumerate(draws(seed, 4))), dict.fromkeys(range(4), 0.9 - shift)).sign for seed in range(2000)]
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
        ({"sd": -1, "n": 3}, "sd: expected 0 or more"),
        ({"sd": math.nan, "n": 3}, "finite"),
        ({"sd": 1, "n": 3, "power": 1.0}, "power: expected"),
        ({"sd": 1, "n": 3, "power": 0.05}, "chance alone"),
        ({"sd": 1, "n": 3, "confidence": 95}, "such as 0.95, got 95"),
    ],
)
def test_impossible_requests_are_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        smallest_difference(**arguments)


# The bootstrap.


@pytest.mark.parametrize("n", [6, 20])
def test_the_bootstrap_is_scipys(n: int) -> None:
    """Another stream of resamples, the same interval but for their noise."""
    values = draws(n, n)
    got = bootstrap_interval(values)
    expected = scipy_stats.bootstrap((values,), np.mean, n_resamples=50_000, rng=np.random.default_rng(0))
    bounds, room = expected.confidence_interval, 0.05 * (max(values) - min(values))
    assert (got.low, got.high) == pytest.approx((bounds.low, bounds.high), abs=room)
    assert (got.mean, got.n, got.method) == (statistics.mean(values), n, "BCa")


def test_the_bootstrap_of_equal_values_is_equal() -> None:
    values = draws(1, 6)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert bootstrap_interval(values) == bootstrap_interval(reversed(values)) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval([*values[:-1], values[-1] + 0.001])
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_the_bootstrap_of_too_little() -> None:
    for n in (1, 2):
        got = bootstrap_interval(draws(0, n))
        assert (got.low, got.high, got.half, got.n) == (None, None, None, n)
    same = bootstrap_interval([0.9] * 4)
    assert (same.low, same.mean, same.high) == (0.9, 0.9, 0.9)
    with pytest.raises(SpecError, match="finite"):
        bootstrap_interval([0.1, math.nan, 0.2])
    with pytest.raises(SpecError, match="confidence"):
        bootstrap_interval([0.1, 0.3, 0.2], confidence=95)


def test_where_bca_has_no_value_percentiles_are_given_and_named() -> None:
    """Cubes of so small a spread are 0, and the acceleration is 0 / 0."""
    got = bootstrap_interval([0.0, 1e-300, 2e-300])
    assert (got.low, got.high, got.method) == (pytest.approx(0.0), pytest.approx(2e-300), "percentile")


@settings(max_examples=30, deadline=None)
@given(st.lists(accuracies, min_size=3, max_size=8))
def test_the_bootstrap_stays_within_its_values(values: list[float]) -> None:
    got = bootstrap_interval(values)
    assert min(values) - 1e-12 <= got.low <= got.high <= max(values) + 1e-12


# Families of tests.


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # statsmodels' and R's
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm_of_known_numbers(p: list[float], adjusted: list[float]) -> None:
    got = holm(dict(enumerate(p)))
    assert list(got) == list(range(len(p)))
    assert list(got.values()) == pytest.approx(adjusted)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_holm_lies_between_no_correction_and_bonferronis(p: list[float], draw: random.Random) -> None:
    got = holm(dict(enumerate(p)))
    assert all(one <= got[at] <= min(1, len(p) * one) for at, one in enumerate(p))
    assert got[p.index(min(p))] == min(1, len(p) * min(p))
    order = sorted(got, key=lambda at: p[at])
    assert [got[at] for at in order] == sorted(got.values())
    shuffled = draw.sample(list(enumerate(p)), len(p))
    assert holm(dict(shuffled)) == got


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_p_is_refused(p: float) -> None:
    with pytest.raises(SpecError, match="p of mine: expected 0 to 1"):
        holm({"mine": p})


# Equivalence.


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("margin", [0.001, 0.02, 0.3])
def test_equivalence_is_two_of_scipys_one_sided_tests(n: int, margin: float) -> None:
    a, b = draws(1, n), draws(2, n)
    differences = np.subtract(a, b)
    above = scipy_stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(differences, margin, alternative="less").pvalue
    got = equivalent(dict(enumerate(a)), dict(enumerate(b)), margin)
    assert got.p == pytest.approx(max(above, below), rel=1e-9)
    assert got.difference == paired(dict(enumerate(a)), dict(enumerate(b)), confidence=0.9).difference
    assert non_inferior(dict(enumerate(a)), dict(enumerate(b)), margin).p == pytest.approx(above, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(0, 9), st.tuples(accuracies, accuracies), min_size=2),
    st.floats(0.01, 0.5),
    st.sampled_from([0.9, 0.95, 0.99]),
)
def test_equivalence_is_shown_where_the_interval_lies_within(
    pairs: dict[int, tuple[float, float]], margin: float, confidence: float
) -> None:
    a, b = ({replicate: pair[side] for replicate, pair in pairs.items()} for side in (0, 1))
    got, one = equivalent(a, b, margin, confidence), non_inferior(a, b, margin, confidence)
    low, high = got.difference.low, got.difference.high
    for bound in (low + margin, margin - high):
        if abs(bound) < 1e-9:  # on the margin, up to rounding
            return
    assert got.shown == (low > -margin and high < margin)
    assert one.shown == (low > -margin)
    assert one.p <= got.p


def test_equivalence_of_one_pair_and_of_no_spread() -> None:
    one = equivalent({0: 0.9}, {0: 0.9}, margin=0.02)
    assert (one.p, one.shown, one.difference.low) == (None, None, None)
    assert non_inferior({0: 0.9}, {0: 0.9}, margin=0.02).shown is None
    same = dict.fromkeys(range(3), 0.5)
    assert [equivalent(same, dict.fromkeys(range(3), b), margin=0.25).p for b in (0.5, 0.25, 0.125)] == [0.0, 1.0, 1.0]
    assert [non_inferior(same, dict.fromkeys(range(3), b), margin=0.25).p for b in (0.125, 0.75, 1.0)] == [
        0.0,
        1.0,
        1.0,
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"margin": 0.0}, "margin: expected more than 0"),
        ({"margin": -0.1}, "margin: expected more than 0"),
        ({"margin": math.nan}, "finite"),
        ({"margin": 0.1, "confidence": 0.5}, "between 0.5 and 1"),
    ],
)
def test_impossible_margins_are_refused(arguments: dict[str, float], words: str) -> None:
    for test in (equivalent, non_inferior):
        with pytest.raises(SpecError, match=words):
            test({0: 1.0, 1: 0.9}, {0: 1.0, 1: 0.8}, **arguments)


def test_equivalence_errs_as_seldom_as_it_says() -> None:
    """At a true difference of just the margin, 5 % of the tests show equivalence that is not there."""
    truth = dict.fromkeys(range(6), 0.9 - 0.05)
    shown = [equivalent(dict(enumerate(draws(seed, 6))), truth, margin=0.05).shown for seed in range(2000)]
    assert sum(shown) / 2000 == pytest.approx(0.05, abs=0.015)


# Sample sizes.


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1e6, 2)])
def test_replicates_needed_are_those_of_the_power_tables(effect: float, n: int) -> None:
    assert replicates_needed(sd=1, difference=effect) == n


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-4, 0.1), st.floats(1e-3, 0.2), st.sampled_from([0.7, 0.8, 0.9]))
def test_replicates_needed_are_the_fewest(sd: float, difference: float, power: float) -> None:
    n = replicates_needed(sd, difference, power)
    assert smallest_difference(sd, n, power) <= difference * (1 + 1e-9)
    assert n == 2 or smallest_difference(sd, n - 1, power) > difference * (1 - 1e-9)


def test_no_spread_needs_the_fewest_and_too_much_is_refused() -> None:
    assert replicates_needed(sd=0.0, difference=0.01) == replicates_needed(sd=1e-17, difference=0.01) == 2
    with pytest.raises(SpecError, match="takes more than 10,000,000 replicates"):
        replicates_needed(sd=1.0, difference=1e-9)
    for difference in (0.0, -0.1):
        with pytest.raises(SpecError, match="difference: expected more than 0"):
            replicates_needed(sd=1.0, difference=difference)


def test_advice_says_what_can_be_seen_and_no_more() -> None:
    few, many = [0.00, 0.01, 0.02], [0.0, 0.001] * 10
    said = "With n = {} and the spread observed here, the smallest difference that you can detect is {} (80 % power){}."
    assert advice(few) == said.format(3, "3.3 points", "; 1.0 points take n = 10")
    assert advice(few, wanted=0.05) == said.format(3, "3.3 points", "")
    assert advice(many) == said.format(20, "0.1 points", "")
    assert math.isclose(smallest_difference(statistics.stdev(few), 3), 0.0326, abs_tol=1e-4)
    assert "no spread to judge by" in advice([0.3] * 3)
    assert "no spread to judge by" in advice([0.1 + 0.2, 0.3, 0.3])
    assert advice([0.3]) == "With n = 1 no difference can be detected, however large: add replicates."
    assert advice([]) == "Nothing was compared, so it is not known what could be detected."
    with pytest.raises(SpecError, match="finite"):
        advice([0.1, math.inf])
