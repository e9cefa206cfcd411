"""The engine of processes: what becomes of its workers and their nursery."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gated import GATE, checkpoints, kill, open_gate, outcomes, slow, steps, trained, trained_by_two
from waiting import FOREVER, until

from oneticket.engine import crew, engine, inline, nursery, processes
from oneticket.engine.engine import Engine
from oneticket.engine.nursery import Nursery, expected
from oneticket.ground import interpreter
from oneticket.ground.errors import KeptWarning, SpecError, StoreError, WrongStoreError
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


FORKS_ONCE = """
import os
from oneticket.engine.nursery import main
fork, forks = os.fork, []

def one():
    if forks:
        raise BlockingIOError(11, "no further process")
    forks.append(1)
    return fork()

os.fork = one
main()
"""


def test_where_no_further_worker_can_be_forked_those_that_are_there_go_on(own, seen, monkeypatch) -> None:
    monkeypatch.setattr(nursery, "CODE", FORKS_ONCE)
    monkeypatch.setattr(crew, "PAUSE", 0.01)
    open_gate(own, GATE)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        context = RunContext(stop=lambda: bool(heard and open_gate(own)))
        piles = processes.run(steps(slow(), levels=0), store=Store(own / "store"), context=context, most=3)
    assert len(piles.done) == 4 and len(trained(own)) == 1
    (said,) = heard
    assert said.category is KeptWarning
    assert str(said.message).startswith("workers failed to start 3 times, so 1 worker must do: no process could")
    assert "no further process" in str(said.message) and len(seen) == 1


TALKS = """
import os
import numpy as np
from own_networks import Slow

class Talks(Slow):
    def __init__(self, shape, classes):
        super().__init__(shape, classes)
        print(f"{os.getpid()} drew {np.random.random()}")
"""


def test_workers_are_heard_draw_other_numbers_and_leave_signals_to_the_run(own, seen, capfd) -> None:
    """Queues and service managers send SIGTERM to all processes of a job; the run's own answer is a checkpoint."""
    (own / "talking_networks.py").write_text(TALKS)
    spec, heard, sent = slow().but(model="talking_networks:Talks"), list[str](), list[int]()
    open_gate(own, GATE)

    def harm() -> bool:
        if not sent and trained_by_two(own):
            for number in nursery.DEAF:
                os.killpg(seen[0].process.pid, number)
                sent.append(number)
            open_gate(own)
        return False

    store, context = Store(own / "store"), RunContext(stop=harm)
    plan = steps(spec, levels=0)
    piles = processes.run(plan, store=store, context=context, observe=lambda step, event: heard.append(event), most=2)
    assert (len(piles.done), len(seen), "lost" in heard, signal.SIGTERM in sent) == (4, 1, False, True)
    first = {pid: drawn for pid, _, drawn in reversed([line.split() for line in capfd.readouterr().err.splitlines()])}
    assert len(first) == 2 == len(set(first.values()))
    sys.modules.pop("talking_networks", None)


CLOSED = """
import os, sys
for number in (0, 1, 2):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
RUNS = """
import sys
from pathlib import Path
sys.path += [Path(), {tests!r}]
from gated import steps
from oneticket.engine import processes
from oneticket.lottery.run_context import RunContext
from oneticket.store.store import Store
print("nowhere")
processes.run(steps(replicates=1), store=Store("store"), context=RunContext(), most=1)
"""


def test_standard_streams_may_be_closed_and_the_path_of_imports_may_hold_anything(tmp_path) -> None:
    code = RUNS.format(tests=str(Path(__file__).parents[1]))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", CLOSED, code], cwd=tmp_path, env=environment, check=True)
    assert len(outcomes(Store(tmp_path / "store"))) == 3


def refused(*_: object, **more: object) -> None:
    raise BlockingIOError(errno.EAGAIN, "no further process")


def test_where_no_nursery_can_be_started_the_run_says_so_and_keeps_no_socket(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(interpreter.subprocess, "Popen", refused)
    monkeypatch.setattr(nursery, "cores", lambda: 2)
    before = sorted(os.listdir("/proc/self/fd"))
    with expected(), pytest.raises(StoreError, match=r"no process could be started for workers: .*no further process"):
        processes.run(steps(), store=Store(tmp_path), context=RunContext(), most=1)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_lost_nursery_that_none_can_replace_brings_no_workers(tmp_path, seen, monkeypatch) -> None:
    monkeypatch.setattr(nursery, "CODE", "raise SystemExit(1)")
    monkeypatch.setattr(crew, "PAUSE", 0.01)
    workers = processes.Processes(store=Store(tmp_path), context=RunContext(), most=1)
    with contextlib.closing(workers):
        until(seen[0].lost, "the end of the nursery")
        monkeypatch.setattr(nursery, "start", refused)
        line = workers.start()
        ((worker, answer),) = workers.heard(FOREVER)
        assert worker is line and answer["said"] == "gone" and workers.nurseries == seen
        workers.end(line)


def test_a_program_that_brings_its_own_python_has_no_nursery(seen, monkeypatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(nursery, "cores", lambda: 2)
    with expected():
        assert not nursery.able() and seen == []


FORKS = """
import os, signal
from oneticket.engine import line
from oneticket.engine.nursery import main

class Forks(line.Worker):
    def do(self, key):
        if os.fork() == 0:
            signal.pause()
        os._exit(1)

line.Worker = Forks
main()
"""


def test_a_worker_is_lost_although_what_it_forked_goes_on(tmp_path, seen, monkeypatch) -> None:
    monkeypatch.setattr(nursery, "CODE", FORKS)
    workers = processes.Processes(store=Store(tmp_path), context=RunContext(), most=1)
    with contextlib.closing(workers):
        line = workers.start()
        assert [answer["said"] for _, answer in workers.heard(FOREVER)] == ["up"]
        workers.give(line, "key")
        assert [answer["said"] for _, answer in workers.heard(FOREVER)] == ["gone"]
        workers.end(line)
        assert not seen[0].lost()


def test_a_nursery_that_somebody_else_waited_for_is_lost(seen, monkeypatch) -> None:
    monkeypatch.setattr(nursery, "CODE", "")
    one = nursery.take()
    os.waitpid(one.process.pid, 0)
    assert one.lost() and one.lost()
    one.end()


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
    with expected():
        engine.run(steps(replicates=1), store=Store(tmp_path), context=RunContext())
        assert seen[2].process.returncode == -signal.SIGKILL, "a run inline has no use for it"
    monkeypatch.setattr(nursery, "cores", lambda: 1)
    with expected():
        assert len(seen) == 3


def test_what_cannot_be_run_is_refused_before_anything_is_started(tmp_path, seen, monkeypatch) -> None:
    store = Store(tmp_path)
    with pytest.raises(WrongStoreError, match="memory://x exists in this process only"):
        processes.run(steps(), store=Store("memory://x"), context=RunContext())
    with pytest.raises(SpecError, match="trains on CPUs, not on cuda"):
        processes.run(steps(), store=store, context=RunContext(device=torch.device("cuda")))
    with pytest.raises(SpecError, match="processes takes no address and no ranks"):
        Engine(name="processes", address="auto")
    with pytest.raises(SpecError, match="processes trains on CPUs; use --engine ray, or leave --gpus out"):
        Engine(name="processes", gpus=0.5)
    with pytest.raises(SpecError, match="workers train one network at a time"):
        Engine(name="processes", together=2)
    with pytest.raises(SpecError, match=r"__main__:Net is defined in the program itself.*as \"mine.py:Net\""):
        processes.run([replace(steps()[0], args={"model": "__main__:Net"})], store=store, context=RunContext())
    monkeypatch.setattr(nursery, "able", lambda: False)
    with pytest.raises(SpecError, match="needs Linux"):
        processes.run(steps(), store=store, context=RunContext())
    assert seen == []
    assert not list(Path(store.url).glob("*"))
