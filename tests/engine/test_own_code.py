"""The user's own code that is edited: no outcome is stored under the address of other code than made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from oneticket.engine import inline, nursery, processes
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.steps import LevelStep

SMALLEST = "def score(evidence):\n    return {n: w.abs() for n, w in evidence.trained.items()}\n"
LARGEST = SMALLEST.replace("w.abs()", "-w.abs()")
SPEC = {
    "data": "digits:a",
    "model": {"name": "mlp", "widths": (12,)},
    "training": {"budget": "6it", "batch": 32},
    "rewind": "2it",
    "pruning": {"fraction": 0.5, "criterion": "mine.py:score"},
}
CHANGED = "criterion 'mine.py:score': its code changed since the study was planned; run the same command again"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a criterion."""
    return _in(tmp_path / "here", monkeypatch, SMALLEST)


def _in(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    folder.mkdir()
    monkeypatch.chdir(folder)
    file = folder / "mine.py"
    file.write_text(text)
    return file


def _planned() -> tuple[Step, ...]:
    return search_origin(SearchSpec.read(SPEC), levels=1, replicate=0, context=RunContext()).levels


def _masks(store: Store, steps: Sequence[Step]) -> Tensor:
    found = LevelStep.decode(store.get(steps[-1])).pruned_at
    return torch.cat([at.flatten() for at in found.values()])


def _run(store: Store, steps: Sequence[Step]) -> Tensor:
    assert not inline.run(steps, store=store, context=RunContext()).failed
    return _masks(store, steps)


def test_a_notebook_runs_the_edited_file_and_stores_what_a_new_process_makes_of_it(mine, tmp_path, monkeypatch) -> None:
    store = Store(tmp_path / "store")
    first = _planned()
    smallest = _run(store, first)
    mine.write_text(LARGEST)
    second = _planned()
    largest = _run(store, second)
    assert first[-1].key != second[-1].key and not torch.equal(smallest, largest)

    _in(tmp_path / "elsewhere", monkeypatch, LARGEST)  # another file: executed for the first time
    anew, kept = _planned(), Store(tmp_path / "kept")
    assert anew[-1].key == second[-1].key and torch.equal(_run(kept, anew), largest)


def test_a_plan_runs_with_the_code_that_it_was_made_with_or_not_at_all(mine, tmp_path) -> None:
    store, steps = Store(tmp_path / "store"), _planned()
    smallest = _run(Store(tmp_path / "kept"), steps)
    mine.write_text(LARGEST)
    assert torch.equal(_run(store, steps), smallest), "it is this code that was planned with"
    _planned()
    store = Store(tmp_path / "other")
    piles = inline.run(steps, store=store, context=RunContext())
    assert {str(error) for _, error in piles.failed} == {CHANGED}
    assert not any(map(store.has, steps)) and store.has(steps[0].needs[0]), "the rewind step runs no criterion"


def test_what_is_planned_anew_while_a_step_runs_is_noticed_when_it_ends(mine, tmp_path) -> None:
    store, steps = Store(tmp_path / "store"), _planned()

    def edit() -> bool:
        if mine.read_text() != LARGEST and store.has(steps[0].needs[0]):
            mine.write_text(LARGEST)
            _planned()
        return False

    piles = inline.run(steps, store=store, context=RunContext(stop=edit))
    assert {str(error) for _, error in piles.failed} == {CHANGED} and not any(map(store.has, steps))


@pytest.mark.skipif(not nursery.able(), reason="needs Linux")
def test_a_worker_that_imports_an_edited_file_stores_nothing(mine, tmp_path) -> None:
    store, steps = Store(tmp_path / "store"), _planned()
    mine.write_text(LARGEST)
    piles = processes.run(steps, store=store, context=RunContext(threads=1), most=1)
    assert {str(error) for _, error in piles.failed} == {CHANGED} and not any(map(store.has, steps))
