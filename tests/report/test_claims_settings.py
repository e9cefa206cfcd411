"""Whether a ticket is trained as it was found is told by settings, not by names; rows without settings go by labels."""

from __future__ import annotations

from typing import Any

import pytest
from test_report_claims import Rows, beside, network, sized

from oneticket.claims.claim import Verdict
from oneticket.claims.claims import CLAIMS
from oneticket.stats.settings import TRAINING, same
from oneticket.stats.summary import is_own_ticket, summary
from oneticket.study.settings import SETTINGS

SGD: dict[str, Any] = {
    "optimizer_name": "sgd",
    "lr": 0.1,
    "rest_lr": None,
    "momentum": 0.9,
    "nesterov": False,
    "betas": None,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "milestones": [],
    "gamma": None,
    "warmup": "0it",
    "budget": "9ep",
    "batch": 64,
    "smoothing": 0.0,
    "clip": None,
    "precision": "float32",
    "guard": "gate+project",
}
ADAM = {**SGD, "optimizer_name": "adam", "lr": 1e-3, "momentum": None, "nesterov": None, "betas": [0.9, 0.999]}


def trained(rows: Rows, now: dict[str, Any], *, found: dict[str, Any] = SGD) -> Rows:
    """The rows with the settings of their training, and of the search of those that have a source."""
    then = {f"source_{name}": value for name, value in found.items()}
    return [{**row, **now, **(then if row["source_data"] else dict.fromkeys(then))} for row in rows]


def judged(claim: str, rows: Rows) -> Verdict:
    return CLAIMS[claim](rows)


HOME = beside(0.05, source="cifar10", target="cifar10")
HALVES = beside(0.05, source="cifar10-a", target="cifar10-b")
ACROSS = beside(0.05, source="svhn", target="cifar10", against="own")
SIMPLE = beside(0.05, source="cifar100", target="fashion", against="own")
ABOUT = {"C1": HOME, "C2": HALVES, "C3": ACROSS, "C4": sized(0.02, 0.01), "C5": SIMPLE}
UPDATE = {"lr": 0.001, "momentum": 0.0, "nesterov": True, "weight_decay": 0.0}
REST = {"schedule": "constant", "warmup": "50it", "batch": 128, "smoothing": 0.1, "clip": 1.0, "guard": "project"}


@pytest.mark.parametrize("claim", ABOUT)
def test_the_settings_that_found_a_ticket_are_under_every_claim_but_the_last(claim: str) -> None:
    assert judged(claim, trained(ABOUT[claim], SGD)).outcome != "not tested"
    assert judged("C6", trained(ABOUT[claim], SGD)).outcome == "not tested"


@pytest.mark.parametrize("claim", ["C3", "C5"])
def test_a_ticket_of_several_sets_is_from_elsewhere_only_if_none_of_them_is_the_target(claim: str) -> None:
    for other, tested in (("mnist", True), (ABOUT[claim][0]["target_name"], False)):
        rows = [
            {**row, "source_name": row["source_name"] and f"{row['source_name']}+{other}"}
            if row["arm"] == "ticket"
            else row
            for row in trained(ABOUT[claim], SGD)
        ]
        assert (judged(claim, rows).outcome != "not tested") == tested, other


@pytest.mark.parametrize("setting", UPDATE)
@pytest.mark.parametrize("claim", ABOUT)
def test_another_update_rule_of_the_same_name_is_under_no_claim(claim: str, setting: str) -> None:
    rows = trained(ABOUT[claim], {**SGD, setting: UPDATE[setting]})
    verdict = judged(claim, rows)
    assert verdict.outcome == "not tested" and verdict.comparisons == ()
    if claim not in ("C3", "C5"):  # there the target's own is no longer its own either
        assert any(f"{setting} {SGD[setting]} then, {UPDATE[setting]} now" in note for note in verdict.notes), verdict
    assert judged("C6", rows).outcome == "not tested"


@pytest.mark.parametrize("setting", REST)
def test_schedule_batch_and_clipping_count_on_the_same_data_and_not_on_other(setting: str) -> None:
    now = {**SGD, setting: REST[setting]}
    for claim in ("C1", "C2"):
        verdict = judged(claim, trained(ABOUT[claim], now))
        assert verdict.outcome == "not tested"
        assert any(note.startswith("Left out, since found under other settings") for note in verdict.notes)
        assert any(f"{setting} " in note and f"{REST[setting]} now" in note for note in verdict.notes)
    for claim in ("C3", "C4", "C5"):
        same = judged(claim, trained(ABOUT[claim], SGD)).outcome
        assert judged(claim, trained(ABOUT[claim], now)).outcome == same != "not tested"


def test_the_length_of_a_training_is_no_setting_of_its_optimizer() -> None:
    for claim in ("C2", "C4"):
        assert judged(claim, trained(ABOUT[claim], {**SGD, "budget": "500it"})).outcome != "not tested"


@pytest.mark.parametrize(
    ("then", "now", "alike"),
    [
        ({"budget": "8ep"}, {"budget": "1248it"}, True),
        ({"budget": "8ep"}, {"budget": "1250it"}, False),
        ({"budget": "8ep"}, {"budget": "8ep"}, True),
        ({"budget": "8ep", "batch": 64}, {"budget": "16ep", "batch": 128}, False),  # as many steps, of other batches
        ({"warmup": "0ep"}, {"warmup": "0it"}, True),
        ({"warmup": "1ep"}, {"warmup": "156it"}, True),
        ({"milestones": "1ep,2ep"}, {"milestones": "156it,2ep"}, True),
        ({"milestones": "1ep,2ep"}, {"milestones": "156it"}, False),
        ({"milestones": []}, {"milestones": None}, True),
        ({"betas": "0.9,0.999"}, {"betas": [0.9, 0.999]}, True),
        ({"clip": 1}, {"clip": 1.0}, True),
        ({"lr": "0.10"}, {"lr": 0.1}, True),
        ({"clip": None}, {"clip": 0.0}, False),
        ({"schedule": "cosine"}, {"schedule": "constant"}, False),
    ],
)
def test_settings_are_compared_by_number_and_in_steps(then: dict[str, Any], now: dict[str, Any], alike: bool) -> None:
    (row,) = trained(network("ticket", "cifar10", "cifar10", 0.6)[:1], {**SGD, **now}, found={**SGD, **then})
    row = {**row, "source_images": 10_000, "target_images": 10_000}
    assert same(row, SETTINGS) == alike
    assert is_own_ticket(row) == alike


def test_epochs_of_unknown_length_are_compared_as_they_are_written() -> None:
    for now, alike in (("1248it", False), ("8ep", True), ("0it", False)):
        (row,) = trained(
            network("ticket", "cifar10", "cifar10", 0.6)[:1], {**SGD, "budget": now}, found={**SGD, "budget": "8ep"}
        )
        assert same({**row, "source_images": None, "target_images": float("nan")}, SETTINGS) == alike
        assert same({**row, "source_images": 10_000, "budget": "soon", "target_images": 10_000}, SETTINGS) is False


def test_a_ticket_that_was_searched_for_another_length_is_not_the_targets_own() -> None:
    longer = {**SGD, "budget": "500it"}
    verdict = judged("C1", trained(HOME, longer))
    assert verdict.outcome == "not tested"
    assert any("budget 9ep then, 500it now" in note for note in verdict.notes), verdict.notes
    assert judged("C2", trained(HALVES, longer)).outcome == judged("C2", trained(HALVES, SGD)).outcome
    for claim in ("C3", "C5"):
        rows = ABOUT[claim]
        target = rows[0]["target_data"]
        away = [row for row in rows if row["arm"] != "own"]
        home = network("ticket", target, target, 0.60)
        assert judged(claim, trained([*away, *home], SGD)).outcome != "not tested", "it stands for the own"
        apart = [*trained(away, longer), *trained(home, longer)]
        assert judged(claim, apart).outcome == "not tested", "a ticket of another length does not"
        own = network("own", target, target, 0.55)
        assert (
            judged(claim, [*apart, *trained(own, longer, found=longer)]).outcome
            == judged(claim, trained([*away, *own], longer, found=longer)).outcome
        )
    (far,) = summary(trained(home, longer))
    assert not far.is_own_ticket


def test_another_optimizer_is_one_of_another_name_whatever_the_labels() -> None:
    verdict = judged("C6", trained(HOME, ADAM))
    assert verdict.outcome == "holds" and judged("C1", trained(HOME, ADAM)).outcome == "not tested"
    labelled = beside(0.05, source="cifar10", target="cifar10", by="slow", under="fast")
    assert judged("C6", labelled).outcome == "holds"  # nothing but labels is known
    assert judged("C6", trained(labelled, {**SGD, "lr": 0.001})).outcome == "not tested"
    assert judged("C1", trained(labelled, SGD)).outcome == "holds"


def test_every_setting_that_rows_have_counts_but_the_length() -> None:
    assert {*TRAINING, "budget"} == set(SETTINGS) == set(SGD)


def test_a_table_reads_nothing_as_nan_and_a_pair_as_a_list() -> None:
    now = {**SGD, "rest_lr": float("nan"), "clip": float("nan"), "milestones": ()}
    assert judged("C1", trained(HOME, now)).outcome == "holds"


def test_a_ticket_under_other_settings_is_not_the_targets_own() -> None:
    rows = network("ticket", "cifar10", "cifar10", 0.7)
    (own,), (other,) = (summary(trained(rows, now)) for now in (SGD, {**SGD, "lr": 0.001}))
    assert own.is_own_ticket and not other.is_own_ticket
