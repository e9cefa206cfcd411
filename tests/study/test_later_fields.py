"""The law of addresses: a field that a spec gets later changes no address, and no file, as long as it is neutral."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest

from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.ground.spec import Later
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.store.store import Store
from oneticket.study import grid, origins, overlaps, plan, rows, steps
from oneticket.study.spec import StudySpec
from oneticket.training.spec import TrainingSpec


class NewOptimizer(OptimizerSpec):
    """Its field does not apply to every optimizer, so what is neutral depends on the name."""

    foreach: Annotated[bool | None, Later(neutral=lambda plain: plain["name"] == "sgd" or None, since="9.1")] = True


class NewTraining(TrainingSpec):
    ema: Annotated[float, Later(neutral=0.0, since="9.1")] = 0.0
    extra: Annotated[tuple[int, ...], Later(neutral=[], since="9.2")] = ()


class NewSearch(SearchSpec):
    optimizer: NewOptimizer = NewOptimizer(name="sgd")
    training: NewTraining = NewTraining()
    warm: Annotated[str | None, Later(neutral=None, since="9.1")] = None


class NewTransfer(TransferSpec):
    optimizer: NewOptimizer = NewOptimizer(name="sgd")
    training: NewTraining = NewTraining()


class Changed(NewSearch):
    """A later release may change a default; what was written down before keeps its meaning."""

    warm: Annotated[str | None, Later(neutral=None, since="9.1")] = "yes"


STUDY: dict[str, Any] = {
    "name": "small",
    "levels": [1],
    "arms": ["dense", "ticket", "own", "reinit"],
    "replicates": 1,
    "training": {"budget": "6it", "batch": 32},
    "rewind": "2it",
    "models": {"tiny": {"name": "mlp", "widths": [12]}},
    "sets": {name: {"data": {"name": name, "per_class": 10}} for name in ("digits:a", "digits:b")},
    "parts": {
        "one": {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["tiny"], "optimizers": ["sgd"]},
    },
}
OLD: dict[str, Any] = {
    "data": {"name": "digits:a", "per_class": 10},
    "model": {"name": "mlp", "widths": (12,)},
    "training": STUDY["training"],
    "rewind": "2it",
}


def test_a_store_from_before_a_field_is_reused_without_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = grid.plan(StudySpec.read(STUDY), RunContext())
    done = run([cell.step for cell in before.cells], store=Store(tmp_path), context=RunContext())
    assert len(done.done) == 8 and not done.failed
    table = rows.rows(before.cells, Store(tmp_path))
    for module in (grid, origins, overlaps, plan, steps):
        monkeypatch.setattr(module, "SearchSpec", NewSearch, raising=False)
        monkeypatch.setattr(module, "TransferSpec", NewTransfer, raising=False)
    monkeypatch.setattr(grid, "OptimizerSpec", NewOptimizer)
    now = grid.plan(StudySpec.read(STUDY), RunContext())
    again = run([cell.step for cell in now.cells], store=Store(tmp_path), context=RunContext())
    assert (again.done, len(again.reused)) == ((), 8)
    assert rows.rows(now.cells, Store(tmp_path)) == table
    spec = steps.training_step(Store(tmp_path).step(now.cells[1].step.key)).spec
    assert isinstance(spec, NewTransfer) and spec.training.ema == 0.0
    # At any other value it is other work, for which the version before has no words.
    changed = NewSearch.read({**OLD, "training": {**STUDY["training"], "ema": 0.9}})
    other = origins.search_origin(changed, levels=0, replicate=0, context=RunContext()).levels[0]
    assert not Store(tmp_path).has(other)
    monkeypatch.undo()
    with pytest.raises(SpecError, match=r"search\.training: unknown field 'ema'"):
        steps.read_step(other)


def test_ids_of_books_do_not_change_either() -> None:
    old, new = SearchSpec.read(OLD), NewSearch.read(OLD)
    assert search(old, levels=1).id == search(new, levels=1).id


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_what_was_written_down_keeps_its_meaning(name: str) -> None:
    old = SearchSpec.read({**OLD, "optimizer": name})
    found = Changed.recall(old.identity())
    assert (found.warm, found.training.ema, found.optimizer.foreach) == (None, 0.0, True if name == "sgd" else None)
    assert found.identity() == old.identity()
    fresh = Changed.read({**OLD, "optimizer": name})
    assert (fresh.warm, fresh.identity()["warm"]) == ("yes", "yes")
    assert Changed.recall(fresh.identity()) == fresh
    stored = NewSearch.read({**OLD, "training": {"extra": [1], "ema": 0.5}}).identity()["training"]
    assert (stored["extra"], stored["ema"]) == ([1], 0.5)


def test_a_name_alone_and_a_mistake_are_read_as_ever() -> None:
    assert ModelSpec.recall("conv-2") == ModelSpec(name="conv-2")
    with pytest.raises(SpecError, match="training.budget"):
        NewTraining.recall({"budget": "soon"})
