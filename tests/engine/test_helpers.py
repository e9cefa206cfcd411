"""Helpers: several processes leave the store that one leaves, whatever becomes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import until

from oneticket.engine import helpers
from oneticket.engine.engine import Engine, run
from oneticket.engine.helpers import Helper
from oneticket.engine.scheduler import Piles
from oneticket.ground.errors import SpecError, TrainingError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store import names
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.training.loop import Run

TWO = Engine(name="inline", processes=2)
QUICK = SearchSpec(data="digits:a", model="mlp", training={"budget": "12it", "batch": 32}, rewind="2it")
LEVELS, REPLICATES = 7, 5


@pytest.fixture
def crew(monkeypatch) -> list[Helper]:
    """The helpers that are started, as if this machine had two cores."""
    began: list[Helper] = []

    class Seen(Helper):
        def __init__(self, store: Store, context: RunContext) -> None:
            super().__init__(store, context)
            began.append(self)

    monkeypatch.setattr(helpers, "cores", lambda: 2)
    monkeypatch.setattr(helpers, "Helper", Seen)
    return began


def steps(*specs: SearchSpec, replicates: int = REPLICATES) -> list[Step]:
    context = RunContext()
    asked = [(spec, replicate) for spec in specs or (QUICK,) for replicate in range(replicates)]
    origins = [search_origin(spec, levels=LEVELS, replicate=number, context=context) for spec, number in asked]
    return [step for origin in origins for step in origin.levels]


def outcomes(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(store.url).rglob("*.safetensors")}


def alone(plan: list[Step], folder: Path) -> tuple[Store, Piles]:
    store = Store(folder)
    return store, run(plan, store=store, context=RunContext(threads=1), engine=Engine(name="inline"))


def beside(
    plan: list[Step],
    store: Store,
    first: Callable[[list[str]], None],
    stop: Callable[[], bool] = lambda: False,
    heard: list[str] | None = None,
) -> Piles:
    """Run it with a helper; in this process's first training, wait for what `first` waits for."""
    told = [] if heard is None else heard
    waited: list[Run] = []

    def watch(run: Run) -> None:
        if not waited:
            waited.append(run)
            first(told)

    context = RunContext(threads=1, watchers=(watch,), stop=stop)
    return run(plan, store=store, context=context, observe=lambda step, event: told.append(event), engine=TWO)


def helped(told: list[str]) -> None:
    until(lambda: "done" in told, "a step that the helper did")


def test_one_process_and_two_leave_equal_stores_and_tell_of_the_same(tmp_path, crew) -> None:
    bad = QUICK.but(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0, "weight_decay": 0})
    plan = steps(bad, QUICK)
    one, serial = alone(plan, tmp_path / "one")
    two, told = Store(tmp_path / "two"), list[str]()
    piles = beside(plan, two, helped, heard=told)
    assert outcomes(one) == outcomes(two) and len(outcomes(one)) > 40
    assert set(piles.done) == set(serial.done) and piles.reused == ()
    assert {(step.key, type(error), str(error)) for step, error in piles.failed} == {
        (step.key, TrainingError, str(error)) for step, error in serial.failed
    }
    assert len(piles.failed) == REPLICATES and set(piles.not_run) == set(serial.not_run)
    assert "elsewhere" not in told and "lost" not in told
    assert two.url not in " ".join(map(str, crew[0].process.args)), "all users of a machine see its command lines"
    assert [helper.process.returncode for helper in crew] == [0]
    threads = {json.dumps(each.get("threads")) for each in two.provenances({step.key for step in piles.done}).values()}
    assert threads == {"1"}
    assert not list(Path(two.url, names.UNDER_WAY).glob("*.claim"))


def test_what_a_lost_helper_was_at_is_done_here(tmp_path, crew) -> None:
    plan, told = steps(), list[str]()
    one, _ = alone(plan, tmp_path / "one")
    two = Store(tmp_path / "two")
    beside(plan, two, lambda told: crew[0].process.kill(), heard=told)
    assert outcomes(one) == outcomes(two)
    assert told.count("lost") == 1


def test_stopped_both_end_and_the_rest_is_done_later(tmp_path, crew) -> None:
    plan, told = steps(), list[str]()
    one, _ = alone(plan, tmp_path / "one")
    two = Store(tmp_path / "two")
    with pytest.raises(KeyboardInterrupt):
        beside(plan, two, helped, stop=lambda: "done" in told, heard=told)
    assert crew[0].process.poll() == 0
    assert not list(Path(two.url, names.UNDER_WAY).glob("*.claim"))
    assert 0 < len(outcomes(two)) < len(outcomes(one))
    run(plan, store=two, context=RunContext(threads=1), engine=TWO)
    assert outcomes(one) == outcomes(two)


def test_what_breaks_off_while_a_helper_is_heard_ends_the_run(tmp_path, crew) -> None:
    seen: list[str] = []

    def observe(step: Step, event: str) -> None:
        if event == "done":
            seen.append(event)
            raise OSError("the screen is gone")

    context = RunContext(threads=1, watchers=(lambda run: until(lambda: seen, "a step that the helper did"),))
    with pytest.raises(OSError, match="the screen is gone"):
        run(steps(), store=Store(tmp_path), context=context, observe=observe, engine=TWO)
    assert crew[0].process.poll() == 0


def test_without_room_or_reason_there_is_no_helper(tmp_path, crew, monkeypatch) -> None:
    few, plan = steps(replicates=1), steps(replicates=2)
    run(few, store=Store(tmp_path / "few"), context=RunContext(threads=1), engine=TWO)
    run(plan, store=Store(None), context=RunContext(threads=1), engine=TWO)
    run(few, store=Store(tmp_path / "torch"), context=RunContext(), engine=TWO)
    monkeypatch.setattr(helpers, "cores", lambda: 1)
    run(plan, store=Store(tmp_path / "core"), context=RunContext(threads=1), engine=TWO)
    assert crew == []
    with pytest.raises(SpecError, match="processes: expected at least 1, got 0"):
        Engine(processes=0)
