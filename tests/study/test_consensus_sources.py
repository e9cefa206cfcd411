"""A consensus as a source of a study: its steps, what they share, how they resume, and how its rows are called."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from oneticket.engine.handlers import work
from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.lottery.consensus import agreed_search
from oneticket.lottery.grouping import do_together
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.report.page import write_report
from oneticket.store.store import Store
from oneticket.study.estimate import estimate
from oneticket.study.findings import findings
from oneticket.study.grid import Plan, plan
from oneticket.study.plan import closure, searches
from oneticket.study.rows import rows
from oneticket.study.spec import StudySpec
from oneticket.study.steps import ConsensusStep, FileStep, read_step
from oneticket.ticket.book import Book

SETS: dict[str, Any] = {
    "low": {"data": {"name": "digits:a", "classes": 5, "per_class": 12}},
    "high": {"data": {"name": "digits:a", "classes": 5, "classes_from": 5, "per_class": 12}},
    "target": {"data": {"name": "digits:b", "per_class": 8}},
}
STUDY: dict[str, Any] = {
    "name": "agreed",
    "levels": [1, 2],
    "arms": ["dense", "ticket", "own", "mask-only", "mask-init", "reinit"],
    "replicates": 1,
    "subsets": "fixed",
    "training": {"budget": "8it", "batch": 32},
    "rewind": "2it",
    "models": {"net": {"name": "mlp", "widths": [12]}},
    "sets": SETS,
    "parts": {"p": {"sources": ["low"], "targets": ["target"], "optimizers": ["sgd"]}},
}
END, EACH = {"consensus": ["low", "high"]}, {"consensus": ["low", "high"], "weights": "mean", "every_level": True}


def made(*sources: Any, **more: Any) -> Plan:
    part = {**STUDY["parts"]["p"], "sources": [*sources]}
    return plan(StudySpec.read({**STUDY, "parts": {"p": part}, **more}), RunContext())


def kinds(planned: Plan, store: Store | None = None) -> Counter[str]:
    steps = closure(cell.step for cell in planned.cells)
    return Counter(step.kind for step in steps if store is None or not store.has(step))


def test_a_consensus_trains_nothing_but_its_searches_and_going_deeper_is_all_that_is_new(tmp_path: Path) -> None:
    store = Store(tmp_path)
    alone, both = kinds(made("low", "high")), kinds(made("low", "high", END))
    assert both["consensus"] == 2 and both["level"] == alone["level"] and both["rewind"] == alone["rewind"]
    done = run([cell.step for cell in made("low", END, EACH).cells], store=store, context=RunContext())
    assert not done.failed and not kinds(made("low", END, EACH), store)
    assert kinds(made(END, arms=["ticket"], levels=[1, 2, 3]), store) == {"level": 2, "consensus": 1, "transfer": 1}
    assert estimate([c.step for c in made(END).cells], store=store, context=RunContext(), paces={}).to_do == 0


def test_its_rows_have_a_name_and_all_that_its_searches_saw(tmp_path: Path) -> None:
    planned, store = made("low", END, EACH), Store(tmp_path)
    run([cell.step for cell in planned.cells], store=store, context=RunContext())
    found = rows(planned.cells, store)
    tickets = {row["source_data"]: row for row in found if row["arm"] == "ticket" and row["level"] == 2}
    names = ("low", "consensus(low, high)", "consensus(low, high; mean weights; at every level)")
    assert tuple(tickets) == names
    for name in names[1:]:
        assert (tickets[name]["source_classes"], tickets[name]["source_images"]) == (10, 120)
        assert tickets[name]["source_name"] == "digits:a+digits:a" and tickets[name]["source_batch"] == 32
        assert tickets[name]["living"] == tickets["low"]["living"]
    same = {row["arm"]: row["score"] for row in found if row["source_data"] == names[1] and row["level"] == 2}
    assert same["ticket"] == same["mask-init"], "it starts from the weights that all began from"
    shown = {origin.called.data for origin in searches(planned.cells)}
    assert {"low", "high", f"low in {names[2]}", f"high in {names[2]}"} <= shown
    assert findings(planned, store).ledger


def test_several_sets_are_called_by_the_sets_that_are_trained_as_they_are() -> None:
    half = {f"{name}-half": {**SETS[name], "training": {"budget": "4it"}} for name in ("low", "high")}
    planned = made(["low", "high"], ["low-half", "high-half"], arms=["ticket"], sets={**SETS, **half})
    called = {cell.origin.called.data for cell in planned.cells if cell.origin}
    assert called == {"low+high", "low-half+high-half"}


def test_a_report_tells_the_settings_of_every_search(tmp_path: Path) -> None:
    """At equal steps the searches of a consensus are written in different times."""
    sets = {**SETS, "high": {"data": {**SETS["high"]["data"], "classes": 3}}}
    times = {"training": {"budget": "3ep", "batch": 16}, "rewind": "1ep"}
    planned, store = made("low", END, arms=["ticket"], sets=sets, equal=["steps"], **times), Store(tmp_path)
    run([cell.step for cell in planned.cells], store=store, context=RunContext())
    write_report(findings(planned, store), tmp_path / "report")
    shown = (tmp_path / "report" / "report.md").read_text()
    assert "consensus(low, high) 18 steps" in shown and "3 epochs and 9 steps" in shown


@pytest.mark.parametrize("source", [END, EACH])
def test_steps_leave_what_the_functions_return(source: dict[str, Any], tmp_path: Path) -> None:
    planned, store = made(source, arms=["ticket"]), Store(tmp_path)
    run([cell.step for cell in planned.cells], store=store, context=RunContext())
    steps = [step for step in closure(cell.step for cell in planned.cells) if step.kind == "consensus"]
    assert all(read_step(step) == ConsensusStep.read(step) for step in steps)
    left = FileStep.decode(store.get(steps[-1]))
    quick = {name: STUDY[name] for name in ("training", "rewind")} | {"model": STUDY["models"]["net"]}
    specs = [{"data": SETS[name]["data"], "optimizer": "sgd", **quick} for name in ("low", "high")]
    weights = source.get("weights", "initial")
    if source is END:
        expected = Book.consensus([search(spec, levels=2) for spec in specs])
    else:
        expected = agreed_search(specs, levels=2, weights=weights)
    assert isinstance(left, Book)
    assert all(left.pruned_at[name].equal(at) for name, at in expected.pruned_at.items())
    assert all(torch.equal(left.weights[name], value) for name, value in expected.weights.items())
    again = do_together([work(steps[-1], [store.get(need) for need in steps[-1].needs], RunContext())])
    assert not isinstance(again[0], BaseException)


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ({"consensus": ["low"]}, {}, "at least 2 items"),
        ({"consensus": ["low", "hihg"]}, {}, "did you mean 'high'"),
        ({"consensus": ["low", "high", "low"]}, {}, "datasets that differ, got low twice"),
        ({"consensus": ["low", "high"], "weights": "best"}, {}, "'initial' or 'mean'"),
        (EACH, {"pruning": {"shots": "one-shot"}}, "prune at every level"),
        (END, {"pruning": {"scope": "layerwise", "granularity": "filter"}}, "of single weights"),
        (END, {"arms": ["corrected-random"]}, "a consensus does not say"),
    ],
)
def test_what_cannot_be_is_refused_in_words(source: dict[str, Any], more: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        made(source, **more)
