"""A study's design: densities mean planned levels, and what was stated lies in the store before the first training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oneticket.ground.errors import KeptWarning, SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.store.designs import file_of
from oneticket.store.step import Outcome
from oneticket.store.store import Store
from oneticket.store.upkeep import gc, verify
from oneticket.study.design import (
    changes,
    design,
    design_doubts,
    digest_of,
    keep_design,
    keep_plan,
    kept_designs,
    trained,
)
from oneticket.study.findings import findings
from oneticket.study.grid import Plan, plan
from oneticket.study.spec import StudySpec

SMALL: dict[str, Any] = {
    "name": "small",
    "levels": [2, 4, 8, 15],
    "arms": ["dense", "ticket", "global-random"],
    "replicates": 2,
    "claims": ["C2"],
    "training": {"budget": "4it", "batch": 32},
    "rewind": "1it",
    "models": {"small": {"name": "mlp", "widths": [40]}},
    "optimizers": {"sgd": "sgd"},
    "parts": {"halves": {"sources": ["digits:a"], "targets": ["digits:b"]}},
}


def planned(**changed: Any) -> Plan:
    return plan(StudySpec.read({**SMALL, **changed}), RunContext())


def test_a_density_means_the_nearest_level_within_a_tenth() -> None:
    assert planned(densities=[0.035, 0.17]).densities == {0.17: 8, 0.035: 15}
    assert planned().densities == {}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"densities": [0.25]}, r"0.25 .*no planned level.*the levels are 2 \(0.64\), 4 \(0.41\), 8 \(0.168\), 15"),
        ({"densities": [0.17, 0.165]}, "0.17 and 0.165 both mean level 8"),
        ({"densities": [1.0]}, r"densities"),
        ({"densities": [0.0]}, r"densities"),
        (
            {
                "densities": [0.41],
                "parts": {
                    **SMALL["parts"],
                    "fast": {**SMALL["parts"]["halves"], "pruning": {"fraction": 0.36}, "levels": [2]},
                },
            },
            r"level 4 in halves \(small\), level 2 in fast \(small\)",
        ),
    ],
)
def test_a_density_that_means_no_level_or_several_is_refused_when_planned(changed: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        planned(**changed)


def test_a_part_without_a_level_near_enough_has_no_say_in_it() -> None:
    parts = {**SMALL["parts"], "deep": {**SMALL["parts"]["halves"], "levels": [4]}}
    assert planned(densities=[0.17], parts=parts).densities == {0.17: 8}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def train(one: Plan, store: Store, count: int) -> None:
    """Outcomes of the first cells, as a run would leave them."""
    for cell in one.cells[:count]:
        store.put(cell.step, Outcome(record={}, tensors={}), seconds=0.0, device="cpu")


def test_the_design_lies_in_the_store_before_the_first_row(store: Store) -> None:
    one = planned(densities=[0.17])
    keep_design(one, store)
    train(one, store, 3)
    keep_design(one, store)
    (kept,) = kept_designs(one, Store(store.url))
    assert kept.design == design(one) and kept.trained == 0
    assert digest_of(kept.design) == digest_of(design(planned(densities=[0.17])))
    assert design_doubts(one, [kept], trained=3) == []
    assert kept.design["densities"] == {"0.17": 8}
    assert kept.design["parts"]["halves"] == {
        "sources": ["digits:a"],
        "targets": ["digits:b"],
        "arms": ["dense", "ticket", "global-random"],
        **dict.fromkeys(("models", "optimizers", "source_optimizers", "target_optimizers")),
        "levels": [2, 4, 8, 15],
        "replicates": 2,
        "equal": None,
        "head_start": "equal",
        "seed": 0,
        "subsets": "replicate",
        "settings": {
            "study": {"training": {"budget": "4it", "batch": 32}, "rewind": "1it"},
            "part": {},
            "small": {"name": "mlp", "widths": [40]},
            "sgd": {"name": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4},
        },
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"margin": 0.05}, "margin from none to 0.05"),
        ({"replicates": 3}, "parts.halves.replicates from 2 to 3"),
        ({"densities": [0.41]}, "densities.0.17 from 8 to none; densities.0.41 from none to 4"),
        ({"claims": ["C1"]}, "claims.C2 from Tickets from one half"),
        ({"complexity": {"score": 0.7}}, "complexity.score from none to 0.7"),
        ({"head_start": "paper"}, "parts.halves.head_start from equal to paper"),
        ({"levels": [2, 4, 8]}, "parts.halves.levels from 2, 4, 8, 15 to 2, 4, 8"),
        ({"seed": 1}, "parts.halves.seed from 0 to 1"),
        ({"training": {"budget": "9it", "batch": 32}}, "parts.halves.settings.study.training.budget from 4it to 9it"),
        ({"models": {"small": {"name": "mlp", "widths": [7]}}}, "parts.halves.settings.small.widths from 40 to 7"),
        (
            {"sets": {"digits:b": {"data": {"name": "digits:b", "per_class": 9}}}},
            "settings.digits:b.data.per_class from none to 9",
        ),
        ({"arms": ["dense", "ticket"]}, "parts.halves.arms from dense, ticket, global-random to dense, ticket"),
    ],
)
def test_a_change_after_rows_is_told_with_what_it_was(changed: Any, said: str, store: Store) -> None:
    first, then = planned(densities=[0.17]), planned(**{"densities": [0.17], **changed})
    assert digest_of(design(first)) != digest_of(design(then))
    keep_design(first, store)
    train(then, store, 3)
    (since,) = design_doubts(then, kept_designs(then, store), trained=3)
    assert (
        since.startswith("The design was changed since the last run, when 3 networks were trained: ") and said in since
    )
    keep_design(then, store)
    (after,) = design_doubts(then, kept_designs(then, store), trained=3)
    assert after.startswith("The design was changed on 20") and said in after


def test_networks_are_counted_of_the_plan_before_and_of_the_plan_now(store: Store) -> None:
    first, then = planned(replicates=3), planned(replicates=1, seed=1, margin=0.05)
    keep_design(first, store)
    keep_plan(first, store)
    train(first, store, 7)
    assert not {cell.step.key for cell in first.cells} & {cell.step.key for cell in then.cells}
    assert trained(then, store) == findings(then, store).trained == 7, (
        "those that were seen, though none is asked for now"
    )
    keep_design(then, store)
    keep_plan(then, store)
    train(then, store, 2)
    assert [one.trained for one in kept_designs(then, store)] == [0, 7]
    (said,) = design_doubts(then, kept_designs(then, store), trained=trained(then, store))
    assert said.startswith("The design was changed on 20") and "when 7 networks were trained: " in said


def test_a_change_before_any_row_is_no_reason_to_doubt(store: Store) -> None:
    keep_design(planned(), store)
    then = planned(margin=0.05)
    keep_design(then, store)
    train(then, store, 3)
    assert len(kept_designs(then, store)) == 2 and design_doubts(then, kept_designs(then, store), trained=3) == []


def test_a_store_holds_several_studies_and_a_part_that_is_not_taken_is_stated_too(store: Store) -> None:
    parts = {**SMALL["parts"], "more": {"sources": ["digits:b"], "targets": ["digits:a"], "levels": [4]}}
    keep_design(planned(parts=parts, take=["halves"]), store)
    keep_design(planned(name="other"), store)
    whole = planned(parts=parts)
    train(whole, store, 3)
    assert design_doubts(whole, kept_designs(whole, store), trained=3) == []
    assert len(kept_designs(planned(name="other"), store)) == 1


def test_damage_and_loss_cost_no_row_and_are_told(store: Store) -> None:
    one = planned()
    keep_design(one, store)
    train(one, store, 3)
    path = Path(store.url, file_of("small"))
    path.write_bytes(path.read_bytes().replace(b'"trained":0', b'"trained":7'))
    with pytest.warns(KeptWarning, match="which design this study was begun with is not known"):
        assert kept_designs(one, Store(store.url)) == ()
    assert design_doubts(one, (), trained=3) == [
        "The store has no design from before these networks were trained: it may have been chosen by them."
    ]
    assert len(store.keys()) == 3
    with pytest.warns(KeptWarning):
        keep_design(one, Store(store.url))
    (kept,) = kept_designs(one, Store(store.url))
    (said,) = design_doubts(one, [kept], trained=3)
    assert kept.trained == 3 and said.startswith("The design was first kept on 20") and "3 networks" in said


def test_upkeep_leaves_designs_and_proves_them(store: Store) -> None:
    one = planned()
    keep_design(one, store)
    train(one, store, 1)
    gc(store, keep=[])
    assert len(kept_designs(one, store)) == 1
    assert all(wrong is None for _, wrong in verify(store))
    path = Path(store.url, file_of("small"))
    path.write_bytes(path.read_bytes()[:-9])
    assert [wrong is not None for _, wrong in verify(store)] == [True]
    assert not path.exists()


def test_a_plan_that_no_file_made_has_a_design(store: Store) -> None:
    made = planned()
    one = Plan(name="mine, by hand", cells=made.cells, claims=("C2",))
    keep_design(one, store)
    (kept,) = kept_designs(one, store)
    assert kept.design["parts"]["halves"]["replicates"] == 2
    assert findings(one, store).designs == (kept,)


def test_changes_are_told_field_by_field() -> None:
    assert changes({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1], "c": None}) == ["b from 1, 2 to 1"]


def test_what_an_earlier_version_did_not_keep_of_a_part_is_no_change() -> None:
    now = design(planned(densities=[0.17]))
    halves = {name: value for name, value in now["parts"]["halves"].items() if name not in ("arms", "sources")}
    before = {**now, "parts": {"halves": halves}}
    assert changes(before, now) == []
    assert len(changes(now, before)) == 2
    assert any(
        "parts.more.levels" in one for one in changes(before, {**now, "parts": {"halves": halves, "more": halves}})
    )
