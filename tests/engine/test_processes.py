"""The engine of processes: what becomes of its workers and their nursery."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gated import GATE, checkpoints, kill, open_gate, outcomes, slow, steps, trained, trained_by_two
from waiting import until

from oneticket.engine import crew, inline, nursery, processes
from oneticket.engine.engine import Engine
from oneticket.engine.nursery import Nursery, expected
from oneticket.ground.errors import SpecError, StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store

pytestmark = pytest.mark.skipif(not nursery.able(), reason="needs Linux")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Nursery]]:
    """The nurseries that were started, all of which end."""
    began: list[Nursery] = []

    class Seen(Nursery):
        def __init__(self) -> None:
            super().__init__()
            began.append(self)

    monkeypatch.setattr(nursery, "Nursery", Seen)
    yield began
    assert all(each.process.returncode is not None for each in began)


def test_a_killed_worker_and_a_killed_nursery_cost_no_more_than_since_the_last_checkpoint(own, seen) -> None:
    """Two workers stand at a gate; one is killed, and the nursery, so that another one brings the next worker."""
    plan, store, heard, killed = steps(slow(), levels=0), Store(own / "store"), list[str](), dict[int, int]()
    open_gate(own, GATE)

    def harm() -> bool:
        if not killed and trained_by_two(own) and len(checkpoints(store.url)) == 2:
            last = max(trained(own))
            killed[last] = trained(own)[last]
            kill(seen[0].process.pid)
            kill(last)
            open_gate(own)
        return False

    context = RunContext(every=0, stop=harm)
    piles = processes.run(plan, store=store, context=context, observe=lambda step, event: heard.append(event), most=2)
    assert (len(piles.done), piles.failed, heard.count("lost"), len(killed)) == (4, (), 1, 1)
    assert len(seen) == 2
    serial = Store(own / "serial")
    inline.run(plan, store=serial, context=RunContext())
    assert outcomes(serial) == outcomes(store)
    assert not checkpoints(store.url)


def test_workers_that_cannot_start_are_told(tmp_path, seen, monkeypatch) -> None:
    monkeypatch.setattr(nursery, "CODE", "raise SystemExit(1)")
    monkeypatch.setattr(crew, "PAUSE", 0.01)
    with pytest.raises(StoreError, match="failed to start 3 times; the last error: its process ended"):
        processes.run(steps(), store=Store(tmp_path), context=RunContext(), most=1)


def test_what_breaks_off_while_workers_are_heard_ends_them(tmp_path, seen) -> None:
    def observe(step: Step, event: str) -> None:
        if event == "done":
            raise OSError("the screen is gone")

    with pytest.raises(OSError, match="the screen is gone"):
        processes.run(steps(), store=Store(tmp_path), context=RunContext(), observe=observe, most=2)
    assert str(tmp_path) not in " ".join(map(str, seen[0].process.args)), "all users of a machine see its command lines"
    with pytest.raises(ProcessLookupError):
        until(lambda: os.killpg(seen[0].process.pid, 0), "the end of all workers")


def test_an_expected_nursery_is_taken_once_and_an_unused_one_ends(tmp_path, seen, monkeypatch) -> None:
    monkeypatch.setattr(nursery, "cores", lambda: 2)
    with expected():
        assert len(seen) == 1
        assert len(processes.run(steps(replicates=1), store=Store(tmp_path), context=RunContext(), most=2).done) == 3
        assert len(seen) == 1
        assert processes.run(steps(replicates=1), store=Store(tmp_path), context=RunContext()).done == ()
    with pytest.raises(SpecError, match="mine"), expected():
        raise SpecError("mine")
    assert len(seen) == 2
    assert seen[1].process.returncode == -signal.SIGKILL
    monkeypatch.setattr(nursery, "cores", lambda: 1)
    with expected():
        assert len(seen) == 2


def test_what_cannot_be_run_is_refused_before_anything_is_started(tmp_path, seen, monkeypatch) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="memory://x exists in this process only"):
        processes.run(steps(), store=Store("memory://x"), context=RunContext())
    with pytest.raises(SpecError, match="trains on CPUs, not on cuda"):
        processes.run(steps(), store=store, context=RunContext(device=torch.device("cuda")))
    with pytest.raises(SpecError, match="processes takes no address and no ranks"):
        Engine(name="processes", address="auto")
    with pytest.raises(SpecError, match="processes trains on CPUs; use --engine ray, or leave --gpus out"):
        Engine(name="processes", gpus=0.5)
    with pytest.raises(SpecError, match="workers train one network at a time"):
        Engine(name="processes", together=2)
    monkeypatch.setattr(nursery, "able", lambda: False)
    with pytest.raises(SpecError, match="needs Linux"):
        processes.run(steps(), store=store, context=RunContext())
    assert seen == []
    assert not list(Path(store.url).glob("*"))
