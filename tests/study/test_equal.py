"""The laws of equal footing between sources: equal epochs, equal steps, both, and settings for one role alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.report.methods import methods
from oneticket.stats.summary import is_own_ticket
from oneticket.store.store import Store
from oneticket.study.cells import distinct_labels
from oneticket.study.findings import findings
from oneticket.study.grid import Plan, plan
from oneticket.study.plan import closure, searches
from oneticket.study.rows import rows
from oneticket.study.spec import StudySpec

STUDY: dict[str, Any] = {
    "name": "mine",
    "levels": [1],
    "arms": ["dense", "ticket"],
    "replicates": 1,
    "training": {"budget": "6it", "batch": 20},
    "rewind": "2it",
    "source_training": {"budget": "3ep"},
    "source_rewind": "1ep",
    "models": {"net": {"name": "mlp", "widths": [12]}},
    "optimizers": {"sgd": "sgd"},
    "sets": {
        "few": {"data": {"name": "digits:a", "per_class": 4}},
        "more": {"data": {"name": "digits:a", "per_class": 10}},
        "there": {"data": {"name": "digits:b", "per_class": 5}},
    },
    "parts": {"p": {"sources": ["few", "more"], "targets": ["there"]}},
}
"""Two sources of 2 and 5 steps an epoch."""


def made(part: dict[str, Any] | None = None, **changes: Any) -> Plan:
    parts = {"p": {**STUDY["parts"]["p"], **(part or {})}}
    return plan(StudySpec.read({**STUDY, "parts": parts, **changes}), RunContext())


def lengths(found: Plan) -> dict[tuple[str | None, str | None], tuple[int, int]]:
    """Steps in all and up to the rewind point, by source and what they are compared at."""
    return {
        (cell.equal, cell.origin.called.data): (cell.origin.total, cell.origin.seen.steps)
        for cell in found.cells
        if cell.origin
    }


def test_epochs_are_each_source_s_own_and_steps_are_the_first_one_s() -> None:
    assert lengths(made()) == {(None, "few"): (6, 2), (None, "more"): (15, 5)}
    assert lengths(made({"equal": "epochs"})) == {("epochs", "few"): (6, 2), ("epochs", "more"): (15, 5)}
    assert lengths(made({"equal": "steps"})) == {("steps", "few"): (6, 2), ("steps", "more"): (6, 2)}
    turned = {"sources": ["more", "few"], "equal": "steps"}
    assert lengths(made(turned)) == {("steps", "few"): (15, 5), ("steps", "more"): (15, 5)}
    assert lengths(made(equal="steps")) == lengths(made({"equal": "steps"}))
    cosine = {"sgd": {"name": "sgd", "schedule": "step", "milestones": ["1ep", "2ep"], "warmup": "1ep"}}
    shown = {
        cell.origin.called.data: cell.origin.search["optimizer"]
        for cell in made({"equal": "steps"}, optimizers=cosine).cells
        if cell.origin
    }
    assert shown["few"]["milestones"] == ["1ep", "2ep"] and shown["few"]["warmup"] == "1ep"
    assert shown["more"]["milestones"] == ["2it", "4it"] and shown["more"]["warmup"] == "2it"


def test_both_are_all_cells_twice_and_what_is_the_same_is_done_once(tmp_path: Path) -> None:
    both, store = made({"equal": ["epochs", "steps"]}), Store(tmp_path)
    alone = {equal: made({"equal": equal}) for equal in ("epochs", "steps")}
    assert len(both.cells) == 2 * len(alone["steps"].cells)
    steps = {equal: {step.key for step in closure(cell.step for cell in one.cells)} for equal, one in alone.items()}
    assert {step.key for step in closure(cell.step for cell in both.cells)} == steps["epochs"] | steps["steps"]
    # The first source, its rewind point, level and ticket, and the dense network.
    assert len(steps["epochs"] & steps["steps"]) == 4
    assert not run([cell.step for cell in both.cells], store=store, context=RunContext()).failed
    found = {(row["equal"], row["arm"], row["source_data"]): row for row in rows(both.cells, store)}
    assert {at: (row["source_budget"], row["steps"]) for at, row in found.items()} == {
        ("epochs", "dense", None): (None, 6),
        ("epochs", "ticket", "few"): ("3ep", 6),
        ("epochs", "ticket", "more"): ("3ep", 6),
        ("steps", "dense", None): (None, 6),
        ("steps", "ticket", "few"): ("3ep", 6),
        ("steps", "ticket", "more"): ("6it", 6),
    }
    known = findings(both, store)
    assert [row["source_data"] for row in known.ledger] == [
        "few",
        "more (budget 3ep, rewind 1ep)",
        "more (budget 6it, rewind 2it)",
    ]
    assert {row["source_data"] for row in known.layers} == {row["source_data"] for row in known.ledger}
    assert len({*map(str, known.overlaps)}) == len(known.overlaps)
    shown = " ".join(methods(known))
    assert (
        "Sources were compared at equal epochs, not steps: few 6 steps (3 epochs) and more 15 steps (3 epoch" in shown
    )
    assert "Sources were compared at equal steps, not epochs: few 6 steps (3 epochs) and more 6 steps (1.2 ep" in shown


def test_what_is_left_out_is_told_as_it_comes_out(tmp_path: Path) -> None:
    def shown(**changes: Any) -> str:
        return " ".join(methods(findings(made(**changes), Store(tmp_path))))

    assert "compared at equal epochs, not steps" in shown()
    assert "compared at equal steps, not epochs" in shown(source_training={"budget": "7it"}, source_rewind="2it")
    sets = {**STUDY["sets"], "more": {**STUDY["sets"]["more"], "source_training": {"budget": "2ep"}}}
    assert "compared at neither equal steps nor equal epochs: few 6 steps (3 epochs) and more 10" in shown(sets=sets)
    same = {**STUDY["sets"], "more": {"data": {"name": "digits:b", "per_class": 4}}}
    assert "compared at equal steps and equal epochs" in shown(sets=same)
    assert "were compared at" not in shown(parts={"p": {"sources": ["few"], "targets": ["there"]}})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source_training": {"budget": "9it"}},
            r'parts.p: equal = "epochs": expected a training.budget in epochs, such as 8ep, got 9it \(few\)',
        ),
        ({"source_rewind": "2it"}, r"expected a rewind in epochs, such as 8ep, got 2it"),
        (
            {"sets": {**STUDY["sets"], "more": {**STUDY["sets"]["more"], "source_training": {"budget": "2ep"}}}},
            r"expected one training.budget for all sources, .* got 3ep \(few\), 2ep \(more\); write one",
        ),
    ],
)
def test_what_cannot_be_compared_so_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        made({"equal": "epochs"}, **changes)


def test_words_other_than_these_are_refused() -> None:
    with pytest.raises(SpecError, match=r"parts.p.equal.0: input should be 'epochs' or 'steps', got 'epoch'"):
        made({"equal": "epoch"})
    assert [cell.equal for cell in made({"equal": ["steps", "steps"]}).cells if cell.arm == "dense"] == ["steps"]


def test_own_searches_take_the_settings_of_targets() -> None:
    found = made({"arms": ["ticket", "own"]})
    own = next(cell for cell in found.cells if cell.arm == "own")
    assert own.origin is not None and (own.origin.total, own.origin.seen.steps, own.start) == (6, 2, 2)
    longer = made({"arms": ["ticket", "own"]}, target_training={"budget": "9it"})
    own = next(cell for cell in longer.cells if cell.arm == "own")
    assert own.origin is not None and own.origin.total == 9
    assert lengths(longer)[None, "few"] == (6, 2)


def test_the_budget_of_own_searches_is_told_with_the_targets_not_with_the_sources(tmp_path: Path) -> None:
    longer = made({"arms": ["ticket", "own"]}, target_training={"budget": "9it"})
    shown = " ".join(methods(findings(longer, Store(tmp_path))))
    assert "Sources: 3 epochs for each training" in shown and "; targets and their own searches: 9 steps for" in shown


def test_nearer_settings_go_over_farther_ones_and_a_role_s_over_the_rest() -> None:
    def batches(**changes: Any) -> tuple[int, int]:
        found = made(**changes).cells
        (cell,) = (one for one in found if one.arm == "ticket" and one.labels["source_data"] == "few")
        assert cell.origin is not None
        return cell.origin.search["training"]["batch"], cell.step.args["transfer"]["training"]["batch"]

    sets = {**STUDY["sets"], "few": {**STUDY["sets"]["few"], "training": {"batch": 8}}}
    assert batches() == (20, 20)
    assert batches(source_training={"batch": 10, "budget": "3ep"}, target_training={"batch": 5}) == (10, 5)
    part = {"training": {"batch": 15}, "target_training": {"batch": 16}}
    assert batches(part=part, source_training={"batch": 10, "budget": "3ep"}) == (15, 16)
    assert batches(part=part, sets=sets) == (8, 16)


def test_one_set_that_is_searched_in_two_ways_is_refused_where_both_would_be_called_the_same() -> None:
    both = {"sources": ["few", "more"], "targets": ["few"], "arms": ["ticket", "own"]}
    with pytest.raises(SpecError, match=r"few is searched in two ways, as a source \(budget 4ep, rewind 1ep\)"):
        made(both, source_training={"budget": "4ep"})
    assert made(both, source_training={"budget": "6it"}, source_rewind="2it").cells
    named = {**STUDY["sets"], "target": {"data": STUDY["sets"]["few"]["data"], "target_training": {"batch": 20}}}
    starts = {
        (cell.arm, cell.labels["source_data"]): cell.start
        for cell in made({**both, "targets": ["target"]}, sets=named).cells
    }
    assert starts == {("ticket", "few"): 2, ("ticket", "more"): 0, ("own", "target"): 2}, "the same data by any name"


def test_times_that_mean_as_many_steps_are_one_search_however_they_are_written(tmp_path: Path) -> None:
    """An epoch of `few` has 2 steps: its search as a source, 3ep and 1ep, is its own search too, 6it and 2it."""
    both = {"sources": ["few", "more"], "targets": ["few"], "arms": ["ticket", "own"], "replicates": 2}
    found, store = made(both), Store(tmp_path)
    home = {cell.origin.called.data: cell.origin.search["training"]["budget"] for cell in found.cells if cell.origin}
    assert home == {"few": "3ep", "more": "3ep"}
    assert not run([cell.step for cell in found.cells], store=store, context=RunContext()).failed
    there = {(row["arm"], row["source_data"]): is_own_ticket(row) for row in rows(found.cells, store)}
    assert there == {("ticket", "few"): True, ("ticket", "more"): False, ("own", "few"): True}


def test_mistakes_are_told_with_the_table_that_has_them() -> None:
    with pytest.raises(SpecError, match=r"^source_training: unknown field 'bacth'; did you mean 'batch'"):
        made(source_training={"bacth": 3})
    with pytest.raises(SpecError, match=r"^parts.p.target_training.batch: "):
        made({"target_training": {"batch": 0}})
    sets = {**STUDY["sets"], "few": {**STUDY["sets"]["few"], "source_training": {"budget": "soon"}}}
    with pytest.raises(SpecError, match=r"^sets.few.source_training.budget: expected a time"):
        made(sets=sets)


def test_searches_that_are_called_the_same_go_by_what_differs() -> None:
    found = searches(made({"equal": ["epochs", "steps"]}, replicates=2).cells)
    assert sorted({str(one["source_data"]) for one in distinct_labels(found).values()}) == [
        "few",
        "more (budget 3ep, rewind 1ep)",
        "more (budget 6it, rewind 2it)",
    ]
