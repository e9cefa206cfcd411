"""Networks that stayed at the commonest class: counted in every arm, and set aside only with their dense network."""

from __future__ import annotations

import pytest
from test_report_claims import Rows, beside, network, sized

from oneticket.claims.claims import CLAIMS, larger_sources, same_distribution
from oneticket.stats.summary import summary

COMMONEST = 0.1


def known(rows: Rows) -> Rows:
    return [{**row, "commonest": COMMONEST} for row in rows]


def dense(target: str, scores: list[float]) -> Rows:
    made = network("dense", "cifar10", target, 0.0, levels=[0], replicates=range(len(scores)))
    return [{**row, "accuracy": score} for row, score in zip(made, scores, strict=True)]


@pytest.mark.parametrize(("scores", "stayed"), [([0.1, 0.2, 0.3], 1), ([0.05, 0.1, 0.1 + 1e-12], 3), ([0.2] * 3, 0)])
def test_what_does_no_better_than_the_commonest_class_has_stayed_there(scores: list[float], stayed: int) -> None:
    rows = dense("svhn", scores)
    assert [one.stayed for one in summary(known(rows))] == [stayed]
    assert [one.stayed for one in summary(rows)] == [None]
    assert [one.stayed for one in summary([{**row, "metric": "top-2", "better": "higher"} for row in known(rows)])] == [
        None
    ]


def test_a_control_that_does_not_train_is_a_result() -> None:
    rows = beside(0.05, source="cifar10-a", target="cifar10-b") + dense("cifar10-b", [0.7, 0.7, 0.7])
    rows = [{**row, "accuracy": COMMONEST} if row["arm"] == "global-random" else row for row in known(rows)]
    verdict = same_distribution(rows)
    assert verdict.outcome == "holds" and verdict.effect is not None
    assert verdict.effect.mean == pytest.approx(0.55, abs=0.01)
    assert not any("Set aside" in note for note in verdict.notes)


def test_a_comparison_whose_dense_network_did_not_train_is_set_aside_beside_all_cells() -> None:
    rows = beside(0.05, source="cifar10-a", target="cifar10-b") + dense("cifar10-b", [0.7, 0.7, 0.7])
    rows += beside(-0.2, source="cifar10-b", target="cifar10-a") + dense("cifar10-a", [0.1, 0.1, 0.7])
    verdict = same_distribution(known(rows))
    assert verdict.outcome == "holds" and verdict.effect is not None
    assert verdict.effect.mean == pytest.approx(0.05, abs=0.01)
    assert [one.where for one in verdict.comparisons] == ["cifar10-b under sgd"]
    aside, beside_it = (note for note in verdict.notes if note.startswith(("Set aside", "With all")))
    assert "more than half of its trainings: the ticket from cifar10-b (sgd) on cifar10-a under sgd" in aside
    assert beside_it.startswith("With all 2 cells: fails, −7.5 points (95 % CI ")
    assert same_distribution(rows).outcome == "fails"  # nothing is known of the commonest class


def test_half_of_the_dense_networks_is_not_most() -> None:
    rows = beside(0.05, source="cifar10-a", target="cifar10-b", replicates=range(4))
    verdict = same_distribution(known([*rows, *dense("cifar10-b", [0.1, 0.1, 0.7, 0.7])]))
    assert verdict.outcome == "holds" and len(verdict.comparisons) == 1


def test_with_all_cells_set_aside_nothing_is_tested_and_all_cells_are_told() -> None:
    rows = beside(0.05, source="cifar10-a", target="cifar10-b") + dense("cifar10-b", [0.1] * 3)
    verdict = CLAIMS["C2"](known(rows))
    assert (verdict.outcome, verdict.effect, verdict.comparisons) == ("not tested", None, ())
    assert verdict.notes[0].startswith("Set aside") and verdict.notes[1].startswith(
        "With all 1 cells: holds, +5.0 points"
    )


def test_slopes_are_set_aside_likewise() -> None:
    rows = known(sized(0.02, 0.01) + dense("fashion", [0.1] * 3) + dense("cifar100", [0.5] * 3))
    verdict = larger_sources(rows)
    assert {one.where for one in verdict.comparisons} == {"cifar100 under sgd"}
    assert any(note.startswith("Set aside") and "on fashion under sgd" in note for note in verdict.notes)
    assert any(note.startswith("With all 4 slopes: ") for note in verdict.notes)
