"""The Ray engine: the same store as the inline one, whatever is killed on the way."""

from __future__ import annotations

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
from waiting import FOREVER, until

from oneticket.engine import engine, inline, run_ray
from oneticket.engine.cluster import ClusterShare
from oneticket.engine.engine import Engine
from oneticket.engine.execute import make
from oneticket.ground import disk
from oneticket.ground.errors import SpecError, StoreError, TrainingError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store import names
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.plan import closure
from oneticket.study.resolve import plan_of
from oneticket.study.rows import rows
from oneticket.training.loop import Run

ray = pytest.importorskip("ray", reason="needs ray")

QUICK = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    training={"budget": "6it", "batch": 32},
    rewind="2it",
)
ITERATIONS, LONG = 200, 1000
GATE = 40
SLOW = """
import os, threading
from torch import nn

begun = 0

def most():
    with open({gate!r}) as file:
        return int(file.read())

class Slow(nn.Module):
    def harm(self):
        global begun
        begun += 1
        while begun > most():
            threading.Event().wait(0.01)
        with open({log!r}, "a") as file:
            file.write(f"{{os.getpid()}}\\n")

    def __init__(self, shape, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(shape[1] * shape[2], 8), nn.ReLU(), nn.Linear(8, classes))

    def forward(self, x):
        if len(x) == 32:  # a training step: neither the test set nor the trial when the network is built
            self.harm()
        return self.layers(x.flatten(1))

class Deadly(Slow):
    def harm(self):
        os.kill(os.getpid(), 9)

class Broken(Slow):
    def harm(self):
        raise KeyError("a mistake of the model's own")
"""


def steps(spec: SearchSpec = QUICK, *, levels: int = 1, replicates: int = 2) -> list[Step]:
    context = RunContext()
    return [
        step
        for replicate in range(replicates)
        for step in search_origin(spec, levels=levels, replicate=replicate, context=context).levels
    ]


def outcomes(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(store.url).rglob("*.safetensors")}


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A module of the user's own, with networks that wait or do harm; it writes down who trains when.

    No process does more training steps than the file `gate` says.
    """
    (tmp_path / "own_networks.py").write_text(SLOW.format(log=str(tmp_path / "log"), gate=str(tmp_path / "gate")))
    open_gate(tmp_path)
    (tmp_path / "log").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_networks", None)


def open_gate(folder: Path, steps: int = 10**9) -> None:
    """Let each process do so many training steps since it was started."""
    disk.replace(folder / "gate", str(steps).encode())


def checkpoints(store: str | Path) -> list[Path]:
    """One of each training under way that has written any."""
    return [*Path(store, names.UNDER_WAY).glob("*.safetensors")]


def slow(name: str = "Slow", iterations: int = ITERATIONS) -> SearchSpec:
    training = {"budget": f"{iterations}it", "batch": 32}
    return QUICK.but(model=f"own_networks:{name}", training=training, rewind="0it")


def trained(folder: Path) -> Counter[int]:
    """How many training steps each process did."""
    return Counter(int(pid) for pid in (folder / "log").read_text().split())


def trained_by_two(folder: Path) -> bool:
    """Whether two processes have trained up to the gate."""
    found = trained(folder)
    return len(found) == 2 and min(found.values()) >= GATE


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_serial_and_ray_leave_equal_stores_and_nothing_else(tmp_path) -> None:
    bad = QUICK.but(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0, "weight_decay": 0})
    plan = [*steps(bad, replicates=1), *steps(levels=2)]
    heard: Counter[str] = Counter()
    serial, parallel = Store(tmp_path / "serial"), Store(tmp_path / "parallel")
    one = inline.run(plan, store=serial, context=RunContext())
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), dict(os.environ)
    two = run_ray.run(plan, store=parallel, context=RunContext(), observe=lambda step, event: heard.update([event]))
    assert outcomes(serial) == outcomes(parallel)
    assert len(outcomes(serial)) == 8
    assert set(two.done) == set(one.done) and two.reused == ()
    assert [(step, type(error), str(error)) for step, error in two.failed] == [
        (step, TrainingError, str(error)) for step, error in one.failed
    ]
    assert set(two.not_run) == set(one.not_run) and len(two.not_run) == 2
    assert parallel.failure(two.failed[0][0]) == str(two.failed[0][1])
    assert heard == {"begun": 9, "done": 8, "failed": 1, "not run": 2}
    again = run_ray.run(steps(levels=2), store=parallel, context=RunContext())
    assert len(again.reused) == 8 and not again.done
    assert not ray.is_initialized()
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
def test_a_study_leaves_equal_bits_by_every_engine_at_the_defaults_that_users_have(tmp_path, capsys) -> None:
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
    assert run("ray", "--engine ray")[0] == serial
    two, said = run("two", "--engine inline --threads 2")
    assert two.keys() == serial.keys() and two != serial, "with other threads this study should differ by rounding"
    assert "mixes" not in said
    file.write_text(THREADED.replace("[1, 3]", "[1, 3, 4]"))
    _, said = run("two", "--engine inline")
    assert said.count("the store mixes numbers of CPU threads (10 with 1 and 30 with 2)") == 1
    plan = plan_of(str(file), RunContext())
    assert {row["threads"] for row in rows(plan.cells, Store(tmp_path / "two"))} == {1, 2}
    assert {row["threads"] for row in rows(plan.cells, Store(tmp_path / "ray"))} == {1}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see which node a process is on")
def test_a_killed_worker_and_a_killed_node_cost_no_more_than_since_the_last_checkpoint(own) -> None:
    # In a process of its own: Ray starts no workers for a `Cluster` of a process that had another session before.
    child = multiprocessing.get_context("spawn").Process(target=kill_a_worker_and_a_node, args=(own,))
    child.start()
    child.join()
    assert child.exitcode == 0
    child.close()


def kill_a_worker_and_a_node(own: Path) -> None:
    """On a cluster of a head and two nodes with a core each."""
    from ray.cluster_utils import Cluster

    plan, environment = steps(slow(), levels=0), dict(os.environ)
    small = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    store, heard, killed = Store(own / "store"), [], dict[int, int]()
    opened, kept = [GATE], dict[tuple[int, str], set[int]]()
    open_gate(own, GATE)

    def harm() -> bool:
        """Lose a worker once all stand at the gate, then a node; each when it wrote a checkpoint of its last steps."""
        here = {pid: count for pid, count in trained(own).items() if pid not in killed}
        if len(killed) == 2 or len(here) < 2 or min(here.values()) < opened[0]:
            return False
        for path in checkpoints(store.url):
            kept.setdefault((len(killed), path.name), set()).add(path.stat().st_mtime_ns)
        times = [len(seen) for (at, _), seen in kept.items() if at == len(killed)]
        if len(times) < 2 or min(times) < 3:  # the second that comes was surely begun here
            opened[0] += 1
            open_gate(own, opened[0])
            return False
        last = max(here)
        killed[last] = here[last] - GATE
        if len(killed) == 1:
            kill(last)
        else:
            above = Path(f"/proc/{last}/status").read_text().partition("PPid:")[2].split()[0]
            raylets = {str(node.all_processes["raylet"][0].process.pid): node for node in nodes}
            cluster.remove_node(raylets[above], allow_graceful=False)
            with suppress(ProcessLookupError):  # of the node's own death a worker takes a while to hear
                kill(last)
            open_gate(own)
        return False

    try:
        piles = run_ray.run(
            plan,
            store=store,
            context=RunContext(every=0, stop=harm),
            observe=lambda step, event: heard.append(event),
            address=cluster.address,
        )
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(environment)
    assert len(killed) == 2
    assert (len(piles.done), piles.failed, piles.not_run) == (4, (), ())
    assert heard.count("lost") == 2, heard
    lost = sum(trained(own).values()) - 2 * ITERATIONS
    assert lost <= sum(killed.values()), "what was lost must be gone on with, not begun anew"
    serial = Store(own / "serial")
    inline.run(plan, store=serial, context=RunContext())
    assert outcomes(serial) == outcomes(store)


@pytest.mark.slow
def test_a_step_that_kills_its_worker_fails_with_words_and_a_broken_one_with_its_traceback(own, monkeypatch) -> None:
    monkeypatch.setattr(run_ray, "LOSSES", 2)
    heard: Counter[str] = Counter()
    plan = [*(step for name in ("Deadly", "Broken") for step in steps(slow(name), levels=0, replicates=1)), *steps()]
    store = Store(own / "store")
    piles = run_ray.run(plan, store=store, context=RunContext(), observe=lambda step, event: heard.update([event]))
    assert len(piles.done) == 2 + 2 * 3
    told = {step.args["model"]["name"].partition(":")[2]: error for step, error in piles.failed}
    assert all(type(error) is StoreError for error in told.values())
    assert "its worker was lost 2 times; if memory ran out, give it a larger share" in str(told["Deadly"])
    assert "broke off with KeyError" in str(told["Broken"]) and "a mistake of the model's own" in str(told["Broken"])
    assert heard["lost"] == 1
    assert set(store.failures().values()) == {str(error) for error in told.values()}


DRIVER = """
import sys
from oneticket.session.run import stop_requests
from oneticket.lottery.run_context import RunContext
from oneticket.engine import run_ray
from oneticket.store.store import Store
sys.path.insert(0, {tests!r})
from engine.test_run_ray import LONG, slow, steps

if __name__ == "__main__":
    every = float(sys.argv[1])
    with stop_requests() as asked:
        here = RunContext(every=every, stop=asked)
        run_ray.run(steps(slow(iterations=LONG), levels=0), store=Store("store"), context=here)
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
def test_a_driver_that_ends_leaves_checkpoints_and_no_process(own, how) -> None:
    (own / "driver.py").write_text(DRIVER.format(tests=str(Path(__file__).parents[1])))
    mark = f"ONETICKET_TEST={own}"
    paths = os.pathsep.join([str(own), str(Path(__file__).parents[2])])
    environment = {**os.environ, "ONETICKET_TEST": str(own), "PYTHONPATH": paths}
    open_gate(own, GATE)
    # When it is asked to stop, nothing but that may cause a checkpoint.
    every = "1000" if how == "asked to stop" else "0"
    driver = subprocess.Popen(
        [sys.executable, "driver.py", every],
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


def test_what_cannot_be_run_is_refused_before_anything_is_started(tmp_path) -> None:
    plan, store = steps(), Store(tmp_path)
    with pytest.raises(StoreError, match="memory://x exists in this process only"):
        run_ray.run(plan, store=Store("memory://x"), context=RunContext())
    with pytest.raises(SpecError, match="1 GPUs do not fit the device cpu"):
        run_ray.run(plan, store=store, context=RunContext(), share=ClusterShare(gpus=1))
    with pytest.raises(SpecError, match="expected CPUs or GPUs above 0"):
        ClusterShare(cpus=0)
    with pytest.raises(SpecError, match="inline takes no address and no ranks"):
        Engine(name="inline", ranks=2)
    with pytest.raises(SpecError, match="ranks: expected at least 1, got 0"):
        Engine(ranks=0)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_share_that_fits_nowhere_and_a_cluster_that_is_not_there_are_told(tmp_path) -> None:
    with pytest.raises(SpecError, match="a step's share of 1000 CPU fits nowhere; there is .* CPU"):
        run_ray.run(steps(), store=Store(tmp_path), context=RunContext(), share=ClusterShare(cpus=1000))
    with pytest.raises(StoreError, match="Ray cannot be reached at 127.0.0.1:1"):
        run_ray.run(steps(), store=Store(tmp_path), context=RunContext(), address="127.0.0.1:1")
    assert not ray.is_initialized()


def test_auto_takes_ray_for_wide_plans_only(tmp_path, monkeypatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(inline, "run", lambda *_, **__: taken.append("inline"))
    monkeypatch.setattr(run_ray, "run", lambda *_, **__: taken.append("ray"))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    context, store = RunContext(device=torch.device("cpu")), Store(tmp_path)
    wide, narrow = steps(levels=12), steps(levels=26, replicates=1)
    engine.run(wide, store=store, context=context)
    engine.run(narrow, store=store, context=context)
    engine.run(steps(), store=store, context=context)
    engine.run(wide, store=Store("memory://y"), context=context)
    engine.run(wide, store=store, context=context, engine=Engine(cpus=2))
    engine.run(wide, store=store, context=context, engine=Engine(name="inline"))
    engine.run(narrow, store=store, context=replace(context), engine=Engine(ranks=2))
    assert taken == ["ray", *["inline"] * 5, "ray"]
