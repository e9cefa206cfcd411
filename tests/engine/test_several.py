"""Several steps at once: the store of one after the other, whatever is killed on the way, by each engine that can."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import oneticket_cli
from gated import (
    GATE,
    LONG,
    QUICK,
    checkpoints,
    kill,
    open_gate,
    outcomes,
    slow,
    steps,
    trained,
    trained_by_two,
)
from waiting import FOREVER, until

from oneticket.engine import crew, engine, inline, nursery, processes, run_ray
from oneticket.engine.engine import Engine
from oneticket.engine.execute import make
from oneticket.ground.errors import StoreError, TrainingError
from oneticket.lottery.run_context import RunContext
from oneticket.store import names
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.plan import closure
from oneticket.study.resolve import plan_of
from oneticket.study.rows import rows
from oneticket.training.loop import Run

RUN = {"processes": processes.run, "ray": run_ray.run}
WITHOUT = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
SEVERAL = [
    pytest.param("processes", marks=pytest.mark.skipif(not nursery.able(), reason="needs Linux")),
    pytest.param("ray", marks=[pytest.mark.slow, WITHOUT]),
]


@pytest.mark.parametrize("engine", SEVERAL)
def test_one_process_and_several_leave_equal_stores_and_nothing_else(tmp_path, engine) -> None:
    bad = QUICK.but(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0, "weight_decay": 0})
    plan = [*steps(bad, replicates=1), *steps(levels=2)]
    heard: Counter[str] = Counter()
    serial, parallel = Store(tmp_path / "serial"), Store(tmp_path / "parallel")
    one = inline.run(plan, store=serial, context=RunContext())
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), dict(os.environ)
    two = RUN[engine](plan, store=parallel, context=RunContext(), observe=lambda step, event: heard.update([event]))
    assert outcomes(serial) == outcomes(parallel)
    assert len(outcomes(serial)) == 8
    assert set(two.done) == set(one.done) and two.reused == ()
    assert [(step, type(error), str(error)) for step, error in two.failed] == [
        (step, TrainingError, str(error)) for step, error in one.failed
    ]
    assert set(two.not_run) == set(one.not_run) and len(two.not_run) == 2
    assert parallel.failure(two.failed[0][0]) == str(two.failed[0][1])
    assert heard == {"begun": 9, "done": 8, "failed": 1, "not run": 2}
    again = RUN[engine](steps(levels=2), store=parallel, context=RunContext())
    assert len(again.reused) == 8 and not again.done
    assert not multiprocessing.active_children()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), dict(os.environ)) == before
    assert not list(Path(parallel.url, names.UNDER_WAY).glob("*.claim"))


THREADED = """
levels = [1, 3]
replicates = 2
arms = ["dense", "ticket", "own", "reinit"]
rewind = "2it"

[training]
budget = "12it"
batch = 64

[parts.halves]
sources = ["digits:a"]
targets = ["digits:b"]
models = ["lenet-300-100"]
optimizers = ["sgd"]
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", SEVERAL)
def test_a_study_leaves_equal_bits_by_every_engine_at_the_defaults_that_users_have(tmp_path, capsys, engine) -> None:
    file, before = tmp_path / "small.toml", torch.get_num_threads()
    file.write_text(THREADED)

    def run(name: str, flags: str) -> tuple[dict[str, bytes], str]:
        torch.set_num_threads(2)  # as torch begins on a machine of two cores; the tests begin with one
        try:
            code, _, said = oneticket_cli(f"study {file} --store {tmp_path / name} {flags}", capsys)
            assert code == 0, said
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)
        return outcomes(Store(tmp_path / name)), said

    serial, _ = run("inline", "--engine inline")
    assert len(serial) == 30
    assert run("several", f"--engine {engine}")[0] == serial
    two, said = run("two", "--engine inline --threads 2")
    assert two.keys() == serial.keys() and two != serial, "with other threads this study should differ by rounding"
    assert "mixes" not in said
    file.write_text(THREADED.replace("[1, 3]", "[1, 3, 4]"))
    _, said = run("two", "--engine inline")
    assert said.count("the store mixes numbers of CPU threads (10 with 1 and 30 with 2)") == 1
    plan = plan_of(str(file), RunContext())
    assert {row["threads"] for row in rows(plan.cells, Store(tmp_path / "two"))} == {1, 2}
    assert {row["threads"] for row in rows(plan.cells, Store(tmp_path / "several"))} == {1}


@pytest.mark.parametrize("engine", SEVERAL)
def test_a_step_that_kills_its_worker_fails_with_words_and_a_broken_one_with_its_traceback(
    own, monkeypatch, engine
) -> None:
    monkeypatch.setattr(crew, "LOSSES", 2)
    heard: Counter[str] = Counter()
    plan = [*(step for name in ("Deadly", "Broken") for step in steps(slow(name), levels=0, replicates=1)), *steps()]
    store = Store(own / "store")
    piles = RUN[engine](plan, store=store, context=RunContext(), observe=lambda step, event: heard.update([event]))
    assert len(piles.done) == 2 + 2 * 3
    errors = {step.args["model"]["name"].partition(":")[2]: error for step, error in piles.failed}
    assert all(type(error) is StoreError for error in errors.values())
    assert "its worker was lost 2 times; if memory ran out, give it a larger share" in str(errors["Deadly"])
    assert "broke off with KeyError" in str(errors["Broken"]) and "a mistake of the model's own" in str(
        errors["Broken"]
    )
    assert heard["lost"] == 1
    assert set(store.failures().values()) == {str(error) for error in errors.values()}


DRIVER = """
import sys
from oneticket.session.run import stop_requests
from oneticket.lottery.run_context import RunContext
from oneticket.engine import processes, run_ray
from oneticket.store.store import Store
sys.path.insert(0, {tests!r})
from gated import LONG, slow, steps

if __name__ == "__main__":
    run, every = {{"processes": processes.run, "ray": run_ray.run}}[sys.argv[1]], float(sys.argv[2])
    with stop_requests() as asked:
        here = RunContext(every=every, stop=asked)
        run(steps(slow(iterations=LONG), levels=0), store=Store("store"), context=here)
"""


def marked(mark: str) -> dict[int, str]:
    """The processes that have this word in their environment, and what they are."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_text().partition("\0")[0]
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see what is left over")
@pytest.mark.parametrize("how", ["asked to stop", "killed"])
@pytest.mark.parametrize("engine", SEVERAL)
def test_a_driver_that_ends_leaves_checkpoints_and_no_process(own, engine, how) -> None:
    (own / "driver.py").write_text(DRIVER.format(tests=str(Path(__file__).parents[1])))
    mark = f"ONETICKET_TEST={own}"
    paths = os.pathsep.join([str(own), str(Path(__file__).parents[2])])
    environment = {**os.environ, "ONETICKET_TEST": str(own), "PYTHONPATH": paths}
    open_gate(own, GATE)
    # When it is asked to stop, nothing but that may cause a checkpoint.
    every = "1000" if how == "asked to stop" else "0"
    driver = subprocess.Popen(
        [sys.executable, "driver.py", engine, every],
        cwd=own,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ready = 2 if how == "killed" else 0
        until(lambda: trained_by_two(own) or driver.poll() is not None, "two workers at the gate")
        until(lambda: len(checkpoints(own / "store")) == ready or driver.poll() is not None, "their checkpoints")
        assert driver.poll() is None
        if how == "killed":
            driver.kill()
        else:
            os.killpg(driver.pid, signal.SIGINT)
            for steps_more in range(1, LONG - GATE):  # they see it at the end of a step
                open_gate(own, GATE + steps_more)
                with suppress(subprocess.TimeoutExpired):
                    driver.wait(0.2)
                    break
        out, err = driver.communicate(timeout=FOREVER)
        # Ray's own agents take a minute and more to notice that all else was killed.
        until(lambda: all("Agent" in word for word in marked(mark).values()), "the end of all processes")
    finally:
        driver.kill()
        for pid in marked(mark):
            kill(pid)
    assert driver.returncode == -(signal.SIGKILL if how == "killed" else signal.SIGINT), err
    assert (how == "killed") or err.strip().endswith("KeyboardInterrupt")
    assert out == ""
    store = Store(own / "store")
    assert len(checkpoints(store.url)) == 2
    open_gate(own)
    began: dict[int, tuple[Run, int]] = {}
    context = RunContext(watchers=(lambda run: began.setdefault(id(run), (run, run.position)),))
    assert len(inline.run(steps(slow(iterations=LONG), levels=0), store=store, context=context).done) == 2
    assert min(position for _, position in began.values()) > 1, "they must be gone on with, not begun anew"
    assert how == "killed" or sum(trained(own).values()) <= 2 * LONG + 2


@pytest.mark.parametrize("other", ["gives up", "is done"])
def test_a_step_that_somebody_else_is_at_is_looked_at_again(tmp_path, other) -> None:
    store, theirs, plan = Store(tmp_path), Store(tmp_path), steps(levels=0, replicates=1)
    step, heard = closure(plan)[0], []
    with ExitStack() as held:
        assert held.enter_context(theirs.claim(step)) is not None

        def observe(step: Step, event: str) -> None:
            heard.append(event)
            if event == "elsewhere":
                if other == "is done":
                    make(step, theirs, RunContext())
                held.close()

        piles = inline.run(plan, store=store, context=RunContext(), observe=observe)
    ended = "done" if other == "gives up" else "reused"
    assert heard == ["begun", "elsewhere", ended, "begun", "done"]
    assert len(piles.done) == (2 if other == "gives up" else 1)


def test_auto_takes_several_processes_for_wide_plans_only(tmp_path, monkeypatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(inline, "run", lambda *_, **__: taken.append("inline"))
    monkeypatch.setattr(processes, "run", lambda *_, **__: taken.append("processes"))
    monkeypatch.setattr(run_ray, "run", lambda *_, **__: taken.append("ray"))
    monkeypatch.setattr(engine, "cores", lambda: 2)
    context, store = RunContext(device=torch.device("cpu")), Store(tmp_path)
    wide, narrow = steps(levels=12), steps(levels=26, replicates=1)
    engine.run(wide, store=store, context=context)
    engine.run(narrow, store=store, context=context)
    engine.run(steps(), store=store, context=context)
    engine.run(wide, store=Store("memory://y"), context=context)
    engine.run(wide, store=store, context=context, engine=Engine(cpus=2))
    engine.run(wide, store=store, context=context, engine=Engine(name="inline"))
    engine.run([replace(each, args={**each.args, "a": "__main__:b"}) for each in wide], store=store, context=context)
    engine.run(narrow, store=store, context=replace(context), engine=Engine(ranks=2))
    assert taken == ["processes", *["inline"] * 6, "ray"]
