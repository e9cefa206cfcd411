from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy import stats as scipy_stats

from oneticket.claims.cells import grid
from oneticket.claims.claim import Rule, Verdict, non_inferior, superior
from oneticket.claims.claims import (
    CLAIMS,
    across_datasets,
    larger_sources,
    other_optimizer,
    own_data,
    same_distribution,
    simple_targets,
    verdicts,
)
from oneticket.claims.judge import Question, judge
from oneticket.claims.pairs import Pair
from oneticket.ground.errors import SpecError
from oneticket.stats.power import NOISE
from oneticket.stats.stats import Interval

Rows = list[dict[str, Any]]
# Label -> bare name, classes, training examples.
DATA = {
    "fashion": ("fashion_mnist", 10, 5000),
    "mnist": ("mnist", 10, 5000),
    "few": ("fashion_mnist", 10, 200),
    "svhn": ("svhn", 10, 862),
    "cifar10": ("cifar10", 10, 5000),
    "cifar10-a": ("cifar10:a", 10, 2500),
    "cifar10-b": ("cifar10:b", 10, 2500),
    "cifar10-b-few": ("cifar10:b", 10, 500),
    "cifar10-b-odd": ("cifar10:b", 10, 2498),
    "cifar10-a-two": ("cifar10:a", 2, 2500),
    "cifar100": ("cifar100", 100, 5000),
    "2x500": ("cifar10", 2, 1000),
    "2x2000": ("cifar10", 2, 4000),
    "10x100": ("cifar10", 10, 1000),
    "10x400": ("cifar10", 10, 4000),
}
SHARED = ("dense", "global-random")
# What a replicate does to all arms alike, and what it does to each arm alone.
LUCK = (0.03, -0.02, -0.01, 0.015, -0.005, 0.0)
STEADY = (0.002, -0.001, -0.001, 0.001, 0.0, -0.001)
UNSTEADY = (0.09, -0.05, -0.04, 0.05, 0.0, -0.05)


def network(
    arm: str,
    source: str,
    target: str,
    mean: float,
    *,
    by: str = "sgd",
    under: str = "sgd",
    levels: Iterable[int] = (20,),
    replicates: Iterable[int] = range(3),
    noise: Sequence[float] = STEADY,
    **more: Any,
) -> Rows:
    """Rows of one arm on one target: `mean` and the replicate's luck, which all arms share, and noise of its own."""
    found = dict(zip(("source_name", "source_classes", "source_images"), DATA[source], strict=True))
    found |= {"source_data": source, "source_optimizer": by}
    if arm in SHARED:
        found = dict.fromkeys(found)
    there = dict(zip(("target_name", "target_classes", "target_images"), DATA[target], strict=True))
    there |= {"target_data": target, "target_optimizer": under}
    alone = 1 if arm == "ticket" else 0
    return [
        {"arm": arm, "model": "vgg-11", "head": "fresh", "level": level, "density": 0.8**level, "key": None}
        | {"replicate": n, "accuracy": mean + LUCK[n] + alone * noise[n], **found, **there, **more}
        for level in levels
        for n in replicates
    ]


def beside(gap: float, *, source: str, target: str, against: str = "global-random", **how: Any) -> Rows:
    """A ticket that is `gap` above another arm on one target."""
    ticket = network("ticket", source, target, 0.6 + gap, **how)
    home = {**how, "by": how.get("under", "sgd")} if against == "own" else how
    if target in ("fashion", "mnist"):  # what dense networks learn well is simple
        ticket = ticket + network("dense", source, target, 0.9, **{**how, "levels": [0]})
    return ticket + network(against, target if against == "own" else source, target, 0.6, **home)


# Claim -> a source and a target that it is about, by which optimizers, and what its tickets are set beside.
ABOUT: dict[str, dict[str, Any]] = {
    "C1": {"source": "cifar10", "target": "cifar10", "against": "global-random"},
    "C2": {"source": "cifar10-a", "target": "cifar10-b", "against": "global-random"},
    "C3": {"source": "svhn", "target": "cifar100", "against": "own"},
    "C5": {"source": "cifar100", "target": "fashion", "against": "own"},
    "C6": {"source": "cifar10", "target": "cifar10", "against": "global-random", "by": "adam", "under": "sgd"},
}
SUPERIOR = [name for name in ABOUT if name != "C3"]


@pytest.mark.parametrize(
    ("low", "high", "better", "close"),
    [
        (0.001, 0.5, "holds", "holds"),
        (0.001, 0.01, "holds", "holds"),
        (-0.01, 0.01, "fails", "holds"),
        (-0.01, 0.05, "undecided", "holds"),
        (-0.05, 0.01, "undecided", "undecided"),
        (-0.05, 0.05, "undecided", "undecided"),
        (-0.01, -0.001, "fails", "holds"),
        (-0.05, -0.01, "fails", "undecided"),
        (-0.05, -0.03, "fails", "fails"),
        (0.0, 0.0, "fails", "holds"),
        (None, None, "undecided", "undecided"),
    ],
)
def test_what_an_interval_decides(low: float | None, high: float | None, better: str, close: str) -> None:
    effect = Interval(mean=0.0, low=low, high=high, n=3)
    assert (superior(effect, 0.02), non_inferior(effect, 0.02)) == (better, close)


@pytest.mark.parametrize("name", SUPERIOR)
@pytest.mark.parametrize(
    ("gap", "noise", "outcome"),
    [
        (0.05, STEADY, "holds"),
        (0.006, STEADY, "holds"),
        (-0.05, STEADY, "fails"),
        (0.0, STEADY, "fails"),
        (0.05, UNSTEADY, "undecided"),
        (0.0, UNSTEADY, "undecided"),
        (0.05, [0.0] * 3, "undecided"),
        (0.0, [0.0] * 3, "undecided"),
    ],
)
def test_what_is_said_to_be_better(name: str, gap: float, noise: Sequence[float], outcome: str) -> None:
    verdict = CLAIMS[name](beside(gap, noise=noise, **ABOUT[name]))
    assert (verdict.claim, verdict.outcome, verdict.unit, verdict.margin) == (name, outcome, "accuracy", 0.02)
    assert verdict.effect is not None
    assert (verdict.effect.mean, verdict.effect.n) == (pytest.approx(gap + sum(noise[:3]) / 3), 3)
    assert len(verdict.comparisons) == 1


@pytest.mark.parametrize(
    ("gap", "noise", "outcome"),
    [
        (0.05, STEADY, "holds"),
        (0.0, STEADY, "holds"),
        (-0.01, STEADY, "holds"),
        (-0.05, STEADY, "fails"),
        (-0.02, STEADY, "undecided"),
        (0.0, UNSTEADY, "undecided"),
    ],
)
def test_what_is_said_to_be_close(gap: float, noise: Sequence[float], outcome: str) -> None:
    assert across_datasets(beside(gap, noise=noise, **ABOUT["C3"])).outcome == outcome


def test_the_margin_decides_what_is_close() -> None:
    rows = beside(-0.05, **ABOUT["C3"])
    assert [across_datasets(rows, margin=margin).outcome for margin in (0.02, 0.1)] == ["fails", "holds"]
    assert "−10.0 points" in across_datasets(rows, margin=0.1).rule
    rows = beside(0.03, noise=(0.01, -0.01, 0.0), **ABOUT["C2"])
    rows = [{**row, "accuracy": row["accuracy"] - 0.03 * (row["arm"] == "ticket")} for row in rows]
    assert [same_distribution(rows, margin=margin).outcome for margin in (0.02, 0.03)] == ["undecided", "fails"]


def test_close_on_average_is_not_close_everywhere() -> None:
    about = {key: value for key, value in ABOUT["C3"].items() if key != "target"}
    rows = beside(-0.1, **about, target="fashion") + beside(0.12, **about, target="cifar100")
    verdict = across_datasets(rows)
    assert verdict.effect.mean == pytest.approx(0.01) and verdict.outcome == "undecided"
    assert any(
        note.startswith("Undecided, since it does not hold everywhere: the interval lies below −2.0 points for")
        for note in verdict.notes
    )


def test_close_is_not_yet_equal() -> None:
    notes = {gap: across_datasets(beside(gap, **ABOUT["C3"])).notes[0] for gap in (0.0, 0.05)}
    assert notes[0.0] == "Equal on average within ±2.0 points: shown (two one-sided t-tests, p = 0.001)."
    assert notes[0.05] == "Equal on average within ±2.0 points: not shown (two one-sided t-tests, p = 0.999)."


@pytest.mark.parametrize("name", ABOUT)
def test_one_replicate_decides_nothing(name: str) -> None:
    verdict = CLAIMS[name](beside(0.3, replicates=[1], **ABOUT[name]))
    assert (verdict.outcome, verdict.effect.low, verdict.effect.n) == ("undecided", None, 1)
    assert verdict.advice == "With n = 1 no difference can be detected, however large: add replicates."
    assert [(one.together.low, one.outcome) for one in verdict.comparisons] == [(None, "undecided")]


@pytest.mark.parametrize("name", CLAIMS)
def test_nothing_is_tested_without_rows(name: str) -> None:
    for rows in ([], network("dense", "cifar10", "svhn", 0.9, levels=[0])):
        verdict = CLAIMS[name](rows)
        assert (verdict.outcome, verdict.effect, verdict.comparisons) == ("not tested", None, ())
        assert verdict.notes[0].startswith("Missing: tickets ")
        assert verdict.advice.startswith("Nothing was compared")


@pytest.mark.parametrize("name", ABOUT)
def test_a_ticket_alone_is_not_tested(name: str) -> None:
    about = ABOUT[name]
    verdict = CLAIMS[name]([row for row in beside(0.3, **about) if row["arm"] in ("ticket", "dense")])
    arm = {"own": "the target's own ticket", "global-random": "the global random ticket"}[about["against"]]
    assert verdict.outcome == "not tested"
    assert verdict.notes[0].startswith(
        f"Missing: {arm} of the same density, beside the ticket from {about['source']} ("
    )


def test_the_effect_is_scipys_paired_t_test_of_the_replicates_means() -> None:
    draw = random.Random(0)
    rows = [
        {**row, "accuracy": draw.gauss(row["accuracy"], 0.01)}
        for target in ("svhn", "cifar100", "fashion")
        for row in beside(0.02, source="cifar10", target=target, against="own", replicates=range(6))
    ]
    verdict = across_datasets(rows)

    def mean(arm: str, replicate: int) -> float:
        found = [row["accuracy"] for row in rows if (row["arm"], row["replicate"]) == (arm, replicate)]
        assert len(found) == 3
        return sum(found) / 3

    a, b = ([mean(arm, replicate) for replicate in range(6)] for arm in ("ticket", "own"))
    bounds = scipy_stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (verdict.effect.low, verdict.effect.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)


def test_every_cell_is_a_comparison_whose_interval_holds_together_with_the_others() -> None:
    gaps = {"svhn": 0.05, "cifar100": 0.0, "fashion": -0.05}
    rows = [row for target, gap in gaps.items() for row in beside(gap, source="cifar10", target=target, against="own")]
    comparisons = across_datasets(rows).comparisons
    assert {one.where: one.outcome for one in comparisons} == {
        "svhn under sgd": "holds",
        "cifar100 under sgd": "holds",
        "fashion under sgd": "fails",
    }
    for one in comparisons:
        found = [
            [row["accuracy"] for row in rows if row["arm"] == arm and one.where.startswith(row["target_data"])]
            for arm in ("ticket", "own")
        ]
        test = scipy_stats.ttest_rel(*found)
        bounds = test.confidence_interval(1 - 0.05 / 3)
        assert one.paired.p == pytest.approx(test.pvalue, rel=1e-6)
        assert (one.together.low, one.together.high) == pytest.approx((bounds.low, bounds.high), rel=1e-6)
    assert {(one.what, one.against) for one in comparisons} == {
        ("the ticket from cifar10 (sgd)", "the target's own ticket")
    }
    assert {(one.level, one.model) for one in comparisons} == {(20, "vgg-11")}


def test_what_is_seen_alone_may_not_be_seen_in_a_family() -> None:
    one = beside(0.008, noise=[0.004, -0.004, 0.0], **ABOUT["C2"])
    (alone,) = same_distribution(one).comparisons
    rows = one + beside(0.008, noise=[0.004, -0.004, 0.0], source="cifar10-b", target="cifar10-a")
    together = same_distribution(rows).comparisons
    assert 0.025 < alone.paired.p < 0.1 and alone.together == alone.paired.difference
    assert all(cell.together.half > 1.3 * cell.paired.difference.half for cell in together)
    several = same_distribution(
        [{**row, "accuracy": row["accuracy"] + 0.004 * (row["arm"] == "ticket")} for row in rows]
    ).comparisons
    assert [(cell.paired.sign, cell.outcome) for cell in several] == [(1, "undecided")] * 2


def test_only_replicates_with_all_cells_count() -> None:
    rows = [
        *beside(0.05, replicates=range(4), **ABOUT["C2"]),
        *beside(0.05, source="cifar10-b", target="cifar10-a", replicates=range(1, 6)),
    ]
    rows = [
        row for row in rows if (row["arm"], row["replicate"], row["target_data"]) != ("global-random", 2, "cifar10-a")
    ]
    verdict = same_distribution(rows)
    assert (verdict.effect.n, verdict.outcome) == (2, "holds")
    assert "over the 2 replicates that have all cells (4 left out)" in verdict.rule
    assert sorted(one.paired.difference.n for one in verdict.comparisons) == [4, 4]


def test_without_a_replicate_that_has_all_cells_nothing_is_pooled() -> None:
    rows = beside(0.05, replicates=range(3), **ABOUT["C2"])
    rows += beside(0.05, source="cifar10-b", target="cifar10-a", replicates=range(3, 6))
    verdict = same_distribution(rows)
    assert (verdict.outcome, verdict.effect) == ("not tested", None)
    assert verdict.notes[0].startswith("Missing: a replicate that all cells have: the ticket from cifar10-b (sgd) on ")
    assert len(verdict.comparisons) == 2


def test_a_replicate_that_a_control_lacks_is_left_out_and_counted() -> None:
    rows = [row for row in beside(0.05, **ABOUT["C2"]) if (row["arm"], row["replicate"]) != ("global-random", 0)]
    assert "the 2 replicates that have all cells (1 left out)" in same_distribution(rows).rule


def test_the_level_is_the_sparsest_that_all_cells_have() -> None:
    rows = beside(0.05, levels=[0, 5, 11, 20], **ABOUT["C2"])
    rows += beside(0.05, source="cifar10-b", target="cifar10-a", levels=[5, 11])
    verdict = same_distribution(rows)
    assert {one.level for one in verdict.comparisons} == {11}
    assert "the sparsest that all cells have, 11 (8.6 % of the weights)" in verdict.rule
    asked = same_distribution(rows, level=20)
    assert [(one.level, one.where) for one in asked.comparisons] == [(20, "cifar10-b under sgd")]
    assert "the one asked for, 20 (1.2 % of the weights)" in asked.rule
    assert asked.notes == (
        "Left out, because they lack the global random ticket at a level: the ticket from cifar10-b (sgd) on cifar10-a "
        "under sgd (vgg-11).",
    )
    never = same_distribution(rows, level=7)
    assert never.outcome == "not tested"
    assert "of the same density at level 7, beside the ticket from cifar10-b" in never.notes[0]


def test_a_level_without_a_replicate_in_common_does_not_count() -> None:
    rows = beside(0.05, levels=[11], **ABOUT["C2"])
    rows += [
        row for row in beside(0.05, levels=[20], **ABOUT["C2"]) if (row["arm"] == "ticket") == (row["replicate"] == 0)
    ]
    assert {one.level for one in same_distribution(rows).comparisons} == {11}


def test_level_0_is_nothing_pruned_and_no_evidence() -> None:
    assert same_distribution(beside(0.05, levels=[0], **ABOUT["C2"])).outcome == "not tested"


def test_without_a_common_level_nothing_is_tested() -> None:
    rows = beside(0.05, levels=[5], **ABOUT["C2"]) + beside(0.05, source="cifar10-b", target="cifar10-a", levels=[11])
    verdict = same_distribution(rows)
    assert verdict.outcome == "not tested"
    assert verdict.notes[0].startswith("Missing: a level that all cells have: ")


@pytest.mark.parametrize(("density", "outcome"), [(0.8**20 * 1.01, "holds"), (0.8**19, "not tested")])
def test_only_equal_densities_are_compared(density: float, outcome: str) -> None:
    rows = beside(0.05, **ABOUT["C2"])
    rows = [{**row, "density": density} if row["arm"] == "global-random" else row for row in rows]
    assert same_distribution(rows).outcome == outcome


def test_models_are_pooled_and_compared_one_by_one() -> None:
    about = {**ABOUT["C2"], "noise": [0.0] * 3}
    rows = beside(0.02, **about) + beside(0.06, model="resnet-50", **about)
    verdict = same_distribution(rows)
    assert verdict.effect.mean == pytest.approx(0.04)
    found = {one.model: one.paired.difference.mean for one in verdict.comparisons}
    assert found == {"vgg-11": pytest.approx(0.02), "resnet-50": pytest.approx(0.06)}


def test_what_makes_the_evidence_weak_is_said() -> None:
    assert same_distribution(beside(0.05, **ABOUT["C2"])).notes == ()
    # Differences of equal accuracies may still differ by rounding.
    assert same_distribution(beside(0.05, noise=[0.0] * 3, **ABOUT["C2"])).notes == (
        "The replicates show no spread, so the interval has no width: weak evidence. So it is undecided.",
    )
    assert same_distribution(beside(0.006, **ABOUT["C2"])).notes == (
        "The whole interval lies below the margin of 2.0 points: shown, but small.",
    )
    one_at_chance = [{**row, "accuracy": row["accuracy"] - 0.5} for row in beside(0.1, **ABOUT["C2"])]
    assert same_distribution(one_at_chance).notes == ()
    rows = [{**row, "accuracy": row["accuracy"] - 0.5} for row in beside(0.0, **ABOUT["C2"])]
    assert same_distribution(rows).outcome == "undecided"
    assert same_distribution(rows).notes == (
        "Undecided, since no network of these cells has learned anything.",
        "In 1 of 1 cells both are at chance (1 / classes + 2.0 points at most): the ticket from cifar10-a (sgd) on "
        "cifar10-b under sgd (vgg-11).",
    )


@pytest.mark.parametrize("arm", ["reinit", "layerwise-random", "corrected-random"])
@pytest.mark.parametrize("name", ABOUT)
def test_the_stricter_controls_are_in_the_notes(name: str, arm: str) -> None:
    about = {key: value for key, value in ABOUT[name].items() if key != "against"}
    rows = beside(0.05, **ABOUT[name]) + network(arm, mean=0.64, **about)
    comparisons = CLAIMS[name](rows).notes
    assert sum("+1.0 points (95 % CI 0.6 to 1.4, n = 3), above 0." in note for note in comparisons) == 1


@pytest.mark.parametrize("name", ["C2", "C6"])
def test_the_targets_own_ticket_is_in_the_notes(name: str) -> None:
    target = ABOUT[name]["target"]
    rows = beside(0.05, **ABOUT[name]) + network("own", target, target, 0.7)
    assert (
        "Against the target's own ticket: −5.0 points (95 % CI −5.4 to −4.6, n = 3), below 0."
        in CLAIMS[name](rows).notes
    )


@pytest.mark.parametrize("name", ["C2", "C3", "C5", "C6"])
def test_the_targets_own_ticket_with_its_own_head_is_in_the_notes(name: str) -> None:
    """Its search trained it with the output layer that it rewound; beside a new layer alone it might look weak."""
    target = ABOUT[name]["target"]
    rows = beside(0.05, **ABOUT[name]) + network("own-search", target, target, 0.67)
    comparisons = (
        "Against the target's own ticket as its search trained it: −2.0 points (95 % CI −2.4 to −1.6, n = 3), below 0."
    )
    assert comparisons in CLAIMS[name](rows).notes


def test_some_cells_lack_a_control() -> None:
    rows = beside(0.05, **ABOUT["C2"]) + beside(0.05, source="cifar10-b", target="cifar10-a")
    rows += network("reinit", "cifar10-a", "cifar10-b", 0.65)
    assert same_distribution(rows).notes == (
        "Against the same mask with new weights (1 of 2 cells): 0.0 points (95 % CI −0.4 to 0.4, n = 3), not shown to "
        "differ from 0.",
    )


# What belongs to which claim.


def cells(claim: Callable[..., Verdict], rows: Rows) -> set[tuple[str, str]]:
    return {(one.what, one.where) for one in claim(rows).comparisons}


def test_a_networks_own_ticket_counts_once() -> None:
    """`own` beside another source's ticket and `ticket` from the set itself are one network with one key."""
    home = network("ticket", "cifar10", "cifar10", 0.7, key="a")
    own = [{**row, "arm": "own", "accuracy": twin["accuracy"]} for row, twin in zip(home, home, strict=True)]
    rows = (
        own
        + home
        + network("global-random", "cifar10", "cifar10", 0.6)
        + beside(0, source="svhn", target="cifar10")[:3]
    )
    assert cells(own_data, rows) == {("the target's own ticket", "cifar10 under sgd")}
    assert cells(own_data, [row for row in rows if row["arm"] != "own"]) == {
        ("the ticket from cifar10 (sgd)", "cifar10 under sgd")
    }
    assert cells(across_datasets, rows) == {("the ticket from svhn (sgd)", "cifar10 under sgd")}


@pytest.mark.parametrize(
    ("source", "target", "by", "claims"),
    [
        ("cifar10", "cifar10", "sgd", {"C1"}),
        ("cifar10", "cifar10", "adam", {"C6"}),
        ("cifar10-a", "cifar10-b", "sgd", {"C2"}),
        ("cifar10-a", "cifar10-b-odd", "sgd", {"C2"}),
        ("cifar10-a", "cifar10-b-few", "sgd", set()),
        ("cifar10-a-two", "cifar10-b", "sgd", set()),
        ("cifar10-a", "cifar10-b", "adam", set()),
        ("cifar10-a", "cifar10", "sgd", set()),
        ("10x100", "cifar10", "sgd", set()),
        ("svhn", "cifar10", "sgd", {"C3"}),
        ("svhn", "cifar10", "adam", set()),
        ("cifar10-a", "svhn", "sgd", {"C3"}),
        ("svhn", "fashion", "sgd", {"C3"}),
        ("cifar100", "fashion", "sgd", {"C3", "C5"}),
        ("cifar100", "mnist", "sgd", {"C3", "C5"}),
        ("fashion", "mnist", "sgd", {"C3"}),
        ("cifar100", "svhn", "sgd", {"C3"}),
    ],
)
def test_which_claims_a_ticket_is_for(source: str, target: str, by: str, claims: set[str]) -> None:
    rows = network("ticket", source, target, 0.7, by=by) + network("global-random", source, target, 0.6)
    rows += network("dense", source, target, 0.9 if target in ("fashion", "mnist") else 0.6, levels=[0])
    if (source, by) != (target, "sgd"):
        rows += network("own", target, target, 0.65)
    comparisons = {verdict.claim: verdict for verdict in verdicts(rows, CLAIMS)}
    name = f"the ticket from {source} ({by})"
    assert {claim for claim, one in comparisons.items() if any(name == cell.what for cell in one.comparisons)} == claims


def test_of_one_set_the_largest_source_counts() -> None:
    rows = network("own", "few", "few", 0.6) + network("dense", "few", "few", 0.9, levels=[0])
    for source in ("2x500", "2x2000", "10x400", "cifar10", "svhn"):
        rows += network("ticket", source, "few", 0.7)
    expected = {("the ticket from cifar10 (sgd)", "few under sgd"), ("the ticket from svhn (sgd)", "few under sgd")}
    assert cells(across_datasets, rows) == cells(simple_targets, rows) == expected
    assert cells(across_datasets, [row for row in rows if row["source_data"] != "cifar10"]) == {
        ("the ticket from 10x400 (sgd)", "few under sgd"),
        ("the ticket from svhn (sgd)", "few under sgd"),
    }


def test_both_ways_between_optimizers() -> None:
    one = beside(0.05, **ABOUT["C6"])
    assert other_optimizer(one).notes == ("Only one way was run: from adam to sgd.",)
    both = one + beside(0.01, source="cifar10", target="cifar10", by="sgd", under="adam")
    verdict = other_optimizer(both)
    assert (verdict.notes, verdict.effect.mean) == ((), pytest.approx(0.03))
    assert {one.where: one.paired.difference.mean for one in verdict.comparisons} == {
        "cifar10 under sgd": pytest.approx(0.05),
        "cifar10 under adam": pytest.approx(0.01),
    }


def test_controls_are_those_of_the_tickets_own_source() -> None:
    """Rows of a study share a random ticket; rows of a single transfer may have one per source."""
    rows = beside(0.05, **ABOUT["C2"])
    found = {name: value for name, value in rows[0].items() if name.startswith("source_")}
    rows = [{**row, **found} for row in rows]
    other = {**found, "source_data": "svhn", "source_name": "svhn"}
    stranger = [{**row, **other, "accuracy": 0.9} for row in rows if row["arm"] == "global-random"]
    assert same_distribution(rows + stranger).effect.mean == pytest.approx(0.05)
    assert same_distribution([row for row in rows if row["arm"] == "ticket"] + stranger).outcome == "not tested"


def test_another_head_is_another_setting() -> None:
    rows = beside(0.05, **ABOUT["C1"])
    kept = [{**row, "head": None, "accuracy": 0.1} for row in rows if row["arm"] == "ticket"]
    verdict = own_data(kept + rows)
    assert (len(verdict.comparisons), verdict.notes) == (1, ())


# C4.


def sized(images: float, classes: float, *, targets: Iterable[str] = ("fashion", "cifar100"), **how: Any) -> Rows:
    """Tickets whose accuracy grows by so much with each doubling of its source's images and classes."""
    rows = []
    for source in how.pop("sources", ("2x500", "2x2000", "10x100", "10x400")):
        _, many, count = DATA[source]
        for target in targets:
            mean = 0.5 + images * math.log2(count / 1000) + classes * math.log2(many / 2)
            rows += network("ticket", source, target, mean, **how)
    return rows


def jittered(rows: Rows, size: float = 0.001) -> Rows:
    draw = random.Random(0)
    return [{**row, "accuracy": draw.gauss(row["accuracy"], size)} for row in rows]


@pytest.mark.parametrize(
    ("images", "classes", "outcome"),
    [(0.02, 0.01, "holds"), (0.02, -0.01, "fails"), (-0.01, 0.02, "fails"), (0.02, 0.0, "undecided")],
)
def test_slopes_per_doubling(images: float, classes: float, outcome: str) -> None:
    verdict = larger_sources(jittered(sized(images, classes, replicates=range(6))))
    assert (verdict.outcome, verdict.unit, verdict.margin) == (outcome, "accuracy per doubling", None)
    assert (verdict.effect.mean, verdict.effect.n) == (pytest.approx(min(images, classes), abs=0.001), 6)
    expected = {"examples": images, "classes": classes}
    assert len(verdict.comparisons) == 4
    for one in verdict.comparisons:
        assert one.paired.difference.mean == pytest.approx(expected[one.what.split()[2]], abs=0.002)


def test_sources_of_several_sets_are_no_larger_sources() -> None:
    rows = jittered(sized(0.02, 0.01, replicates=range(6)))
    joint = [
        {**row, "source_data": f"both {size}", "source_name": "cifar10+svhn", "source_images": size, "accuracy": 0.2}
        for size in (1000, 8000)
        for row in rows
        if row["source_data"] == "10x400"
    ]
    alone, verdict = larger_sources(rows), larger_sources([*rows, *joint])
    assert (verdict.effect, verdict.comparisons) == (alone.effect, alone.comparisons)
    assert "Left out, since found on several sets at once: both 1000 and both 8000." in verdict.notes
    assert not any("several sets" in note for note in alone.notes)


def test_the_effect_of_a_failure_is_the_one_that_failed() -> None:
    """Images help in one replicate and hurt in another, so widely that their bound is the lower one."""
    swing = {0: -0.05, 1: 0.05, 2: 0.0}
    rows = [
        {**row, "accuracy": row["accuracy"] + swing[row["replicate"]] * math.log2(row["source_images"] / 1000)}
        for row in jittered(sized(0.0, -0.02))
    ]
    verdict = larger_sources(rows)
    assert (verdict.outcome, verdict.effect.mean) == ("fails", pytest.approx(-0.02, abs=0.001))
    assert any("Twice the examples" in note and "not shown to differ" in note for note in verdict.notes)


def test_slopes_are_those_of_least_squares_with_an_intercept_per_group() -> None:
    rows = jittered(
        sized(0.02, 0.01, targets=["fashion"], sources=("2x500", "2x2000", "10x100", "10x400", "cifar10")), 0.05
    )
    for one in larger_sources(rows).comparisons:
        factor, equal = ("images", "classes") if "examples of" in one.what else ("classes", "images")
        slopes = []
        for replicate in range(3):
            found = [row for row in rows if row["replicate"] == replicate]
            groups = sorted(
                {row[f"source_{equal}"] for row in found if row["source_images"] != 5000 or equal == "classes"}
            )
            found = [row for row in found if row[f"source_{equal}"] in groups]
            design = [
                [math.log2(row[f"source_{factor}"]), *(float(row[f"source_{equal}"] == group) for group in groups)]
                for row in found
            ]
            slopes.append(linalg.lstsq(design, [row["accuracy"] for row in found])[0][0])
        assert one.paired.difference.mean == pytest.approx(sum(slopes) / 3, rel=1e-9)


@pytest.mark.parametrize(
    ("sources", "factor", "other", "slope"),
    [(("10x100", "10x400"), "examples", "classes", 0.02), (("2x500", "10x100"), "classes", "examples", 0.01)],
)
def test_one_factor_alone_decides_and_is_named(sources: Sequence[str], factor: str, other: str, slope: float) -> None:
    verdict = larger_sources(jittered(sized(0.02, 0.01, sources=sources)))
    assert (verdict.outcome, verdict.effect.mean) == ("holds", pytest.approx(slope, abs=0.001))
    assert f"Not tested: more {other}, since no sources with as many {factor} can be compared." in verdict.notes
    assert {one.what for one in verdict.comparisons} == {f"twice the {factor} of cifar10 at equal {other}"}


@pytest.mark.parametrize(
    ("classes", "words"),
    [(0.01, "more classes help."), (-0.01, "more classes hurt."), (0.0, "more classes are not shown to help or hurt.")],
)
def test_whether_classes_help_beyond_images_is_said(classes: float, words: str) -> None:
    notes = larger_sources(jittered(sized(0.02, classes))).notes
    assert any(note == f"At equal numbers of examples, {words}" for note in notes)


@pytest.mark.parametrize(
    "rows",
    [
        sized(0.02, 0.01, sources=["10x100"]),
        sized(0.02, 0.01, sources=["2x500", "10x400"]),
        sized(0.02, 0.01, targets=["cifar10-b"]),
        sized(0.02, 0.01, by="adam"),
    ],
    ids=["one source", "nothing equal", "its own set", "another optimizer"],
)
def test_slopes_that_cannot_be_had(rows: Rows) -> None:
    verdict = larger_sources(rows)
    assert (verdict.outcome, verdict.effect, verdict.comparisons) == ("not tested", None, ())


def test_slopes_take_the_replicates_that_all_sources_have() -> None:
    rows = sized(0.02, 0.01, replicates=range(4))
    rows = jittered(
        [row for row in rows if (row["source_data"], row["target_data"], row["replicate"]) != ("2x500", "fashion", 3)]
    )
    verdict = larger_sources(rows)
    assert verdict.effect.n == 3
    assert "examples: the 3 replicates that have all cells (1 left out)" in verdict.rule
    assert larger_sources(jittered(sized(0.02, 0.01, replicates=[0]))).outcome == "undecided"


def test_slopes_at_the_sparsest_level_or_the_one_asked_for() -> None:
    rows = jittered(
        sized(0.02, 0.01, levels=[5, 11], targets=["fashion"]) + sized(0.02, 0.01, levels=[11, 20], targets=["svhn"])
    )
    assert {one.level for one in larger_sources(rows).comparisons} == {11}
    asked = larger_sources(rows, level=20)
    assert {(one.level, one.where) for one in asked.comparisons} == {(20, "svhn under sgd")}
    assert any(
        note.startswith("Left out, because the level is missing: examples of cifar10, on fashion")
        for note in asked.notes
    )
    assert larger_sources(rows, level=3).outcome == "not tested"


# All of them.


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(draw: random.Random) -> None:
    rows = [row for name in ABOUT for row in beside(0.02, **ABOUT[name])]
    rows = list({repr(row): row for row in rows}.values()) + sized(0.01, 0.01, targets=["mnist"])
    rows = [row for row in rows if not (row["target_data"] == "mnist" and row["arm"] == "own")]

    assert verdicts(draw.sample(rows, len(rows)), CLAIMS) == verdicts(rows, CLAIMS)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.integers(0, 5), st.floats(-0.3, 0.3), min_size=1),
    st.sampled_from(SUPERIOR),
)
def test_an_outcome_says_what_its_interval_says(gaps: Mapping[int, float], name: str) -> None:
    rows = beside(0.0, replicates=gaps, noise=[0.0] * 6, **ABOUT[name])
    rows = [{**row, "accuracy": row["accuracy"] + gaps[row["replicate"]] * (row["arm"] == "ticket")} for row in rows]
    verdict = CLAIMS[name](rows)
    low, high = verdict.effect.low, verdict.effect.high
    if len(gaps) == 1:
        assert (verdict.outcome, low) == ("undecided", None)
    elif high - low <= 2 * NOISE:
        assert verdict.outcome == "undecided"
    else:
        inside = low > -0.02 and high < 0.02
        assert (verdict.outcome == "holds") == (low > 0)
        assert (verdict.outcome == "fails") == (high < 0 or (inside and low <= 0))


def test_rows_without_the_columns_of_a_study_are_refused() -> None:
    rows = [{key: value for key, value in row.items() if key != "source_images"} for row in beside(0, **ABOUT["C2"])]
    with pytest.raises(SpecError, match="got none of source_images in some"):
        same_distribution(rows)


def test_a_margin_of_nothing_is_refused() -> None:
    for margin in (0.0, -0.1, math.nan):
        with pytest.raises(SpecError, match="margin: expected more than 0"):
            same_distribution([], margin=margin)


def test_a_rows_unknown_source_is_for_no_claim() -> None:
    rows = [{**row, "source_name": None} for row in beside(0.05, **ABOUT["C2"])]
    assert grid(rows).tickets == []
    assert same_distribution(rows).outcome == "not tested"


# Own claims.

OWN = '''
from oneticket.claims.cells import grid
from oneticket.claims.judge import Question, judge
from oneticket.claims.pairs import Pair

ASKED = Question(name="mine", statement="Masks matter.", rows="all tickets", against="layerwise-random")


def masks_matter(rows, *, margin, level=None):
    """A ticket beats its own mask, shuffled."""
    study = grid(rows)
    pairs = [Pair(ticket=cell, rival=study.control(cell, ASKED.against)) for cell, _ in study.tickets]
    return judge(ASKED, pairs, margin=margin, level=level)


def wrong(rows):
    return "holds"


def broken(rows):
    return rows[0]["nothing"]


number = 3
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my_claims.py"
    path.write_text(OWN)
    return path


def test_an_own_claim_in_a_file(own: Path) -> None:
    rows = beside(0.05, source="svhn", target="cifar10", against="layerwise-random")
    (verdict, c1) = verdicts(rows, [f"{own}:masks_matter", "C1"], margin=0.01)
    assert (verdict.claim, verdict.outcome, verdict.margin) == ("mine", "holds", 0.01)
    assert (c1.claim, c1.outcome) == ("C1", "not tested")
    (asked,) = verdicts(rows, [f"{own}:masks_matter"], level=3)
    assert asked.outcome == "not tested"


def test_an_own_claim_on_the_path(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(own.parent)
    rows = beside(-0.05, source="svhn", target="cifar10", against="layerwise-random")
    assert [one.outcome for one in verdicts(rows, ["my_claims:masks_matter"])] == ["fails"]


def test_a_function_is_a_claim_too() -> None:
    def mine(rows: Sequence[Mapping[str, Any]]) -> Verdict:
        asked = Question(
            name="none", statement="", rows="nothing", against="own", rule=Rule(decide=superior, words="if {margin}")
        )
        return judge(asked, [Pair(ticket=cell, rival=None) for cell, _ in grid(rows).tickets], margin=0.5)

    (verdict,) = verdicts(beside(0, **ABOUT["C3"]), [mine])
    assert (verdict.outcome, verdict.margin) == ("not tested", 0.5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("C7", "unknown claim 'C7'.*Known: C1, C2.*your own: 'file.py:function'"),
        ("{own}:mask_matters", "has no 'mask_matters'; did you mean masks_matter"),
        ("{own}:number", "expected a function.*, got 3"),
        ("{own}:wrong", "expected a Verdict, got str"),
        ("{own}:broken", "failed: KeyError: 'nothing'"),
        ("{own}.none.py:wrong", "no such file"),
        ("{own.parent}/bad.py:f", "bad.py failed: ZeroDivisionError"),
        ("no_such_module_here:f", "cannot import 'no_such_module_here'"),
        (":f", "unknown claim ':f'"),
    ],
)
def test_own_claims_that_cannot_be_had(own: Path, name: str, words: str) -> None:
    (own.parent / "bad.py").write_text("1 / 0")
    with pytest.raises(SpecError, match=words):
        verdicts(beside(0, **ABOUT["C2"]), [name.format(own=own)])


def test_claims_are_found_by_name() -> None:
    assert [one.claim for one in verdicts([], ["C6", "C1"])] == ["C6", "C1"]
