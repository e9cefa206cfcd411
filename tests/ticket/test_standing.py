"""Standings: the worst and the best target beside each rival, with intervals that hold together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from oneticket.publish.standing import _quantile, share_within, standings
from oneticket.publish.zoo import entries
from oneticket.stats.stats import mean_interval
from oneticket.ticket.describe import scores

LOSSES = {"near": [0.010, 0.014, 0.012], "far": [-0.08, -0.06, -0.10], "middle": [0.0, 0.01, -0.01]}


def row(data: str, arm: str, differences: list[float], **more: Any) -> Mapping[str, Any]:
    """A sound row of scores, its interval as `stats.scores` makes it."""
    found = mean_interval(differences)
    difference = {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
    return {"data": data, "optimizer": "sgd", "arm": arm, "difference": difference, **more}


def test_worst_and_best_are_adjusted_over_all_targets() -> None:
    (found,) = standings(row(data, "dense", values) for data, values in LOSSES.items())
    assert [gain.data for gain in found.gains] == ["far", "middle", "near"] and found.compared == 3
    for gain in found.gains:
        expected = mean_interval(LOSSES[gain.data], confidence=1 - 0.05 / 3)
        assert (gain.mean, gain.low, gain.high) == pytest.approx((expected.mean, expected.low, expected.high))
    worst, best = found.lines[0], found.lines[-1]
    assert worst.startswith("worst: −8.0 points (") and worst.endswith(", n = 3), on far")
    assert best.startswith("best: +1.2 points (") and best.endswith(", n = 3), on near")


def test_one_target_is_not_widened() -> None:
    (found,) = standings([row("here", "own", LOSSES["near"])])
    plain = mean_interval(LOSSES["near"])
    assert (found.gains[0].low, found.gains[0].high) == pytest.approx((plain.low, plain.high))
    assert found.lines[0].startswith("the only set: +1.2 points (")


def test_of_controls_the_strongest_counts_and_all_are_in_the_adjustment() -> None:
    rows = [
        row("here", "reinit", [0.02, 0.03]),
        row("here", "layerwise-random", [0.01, 0.02]),
        row("here", "signs", [0.1, 0.2]),
    ]
    (found,) = standings([*rows, row("there", "reinit", [0.3, 0.4])])
    assert [(gain.data, gain.arm) for gain in found.gains] == [("here", "layerwise-random"), ("there", "reinit")]
    expected = mean_interval([0.01, 0.02], confidence=1 - 0.05 / 4)
    assert (found.gains[0].low, found.gains[0].high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("arm", ["dense-rewound", "mask-only", "weights-only", "own-reinit", "ticket"])
def test_what_is_made_of_the_target_or_of_all_weights_is_no_control(arm: str) -> None:
    assert standings([row("here", arm, [0.1, 0.2])]) == []


def test_trainings_that_all_ended_at_one_score_have_no_narrow_interval() -> None:
    (found,) = standings([row("here", "reinit", [0.0, 0.0, 0.0]), row("there", "reinit", [0.1, 0.2, 0.3])])
    assert found.lines[0] == "worst: 0.0 points over the same mask with new weights in all 3 pairs, on here"


def test_one_training_has_no_interval() -> None:
    (found,) = standings([row("here", "dense", [0.1]), row("there", "dense", [0.2])])
    assert "+10.0 points (n = 1, no interval)" in found.lines[0]


def test_metrics_are_not_set_beside_each_other() -> None:
    strange = {"metric": "rmse", "unit": "", "better": "lower"}
    rows = [row("a", "dense", [5.0, 6.0], **strange), row("b", "dense", [0.1, 0.2]), row("c", "dense", [0.2, 0.3])]
    (found,) = standings(rows)
    assert {gain.data for gain in found.gains} == {"b", "c"} and found.metric.name == "accuracy"


def test_what_ships_was_measured_beside_dense_and_its_controls() -> None:
    for entry in entries():
        assert entry.thing is not None
        found = {one.rival: one for one in standings(scores(entry.thing))}
        assert found.keys() >= {"dense", "controls"}, entry.name
        for one in found.values():
            assert [gain.mean for gain in one.gains] == sorted(gain.mean for gain in one.gains)


def test_students_t_is_scipys_without_scipy() -> None:
    from scipy.stats import t

    for freedom in (1, 2, 3, 4, 9, 30, 99):
        for value in (0.1, 1.0, 2.5, 10.0):
            assert share_within(value, freedom) == pytest.approx(1 - 2 * t.sf(value, freedom), abs=1e-12)
        for compared in (1, 7):
            assert _quantile(freedom + 1, compared) == pytest.approx(t.ppf(1 - 0.025 / compared, freedom))
