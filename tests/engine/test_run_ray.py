"""What Ray alone has: nodes that are lost, shares of machines, addresses of clusters."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from pathlib import Path

import pytest
from gated import GATE, ITERATIONS, checkpoints, kill, open_gate, outcomes, slow, steps, trained

from oneticket.engine import inline, run_ray
from oneticket.engine.cluster import ClusterShare
from oneticket.engine.engine import Engine
from oneticket.ground.errors import SpecError, StoreError, WrongStoreError
from oneticket.lottery.run_context import RunContext
from oneticket.store.store import Store

ray = pytest.importorskip("ray", reason="needs ray")


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


def test_what_cannot_be_run_is_refused_before_anything_is_started(tmp_path) -> None:
    plan, store = steps(), Store(tmp_path)
    with pytest.raises(WrongStoreError, match="memory://x exists in this process only"):
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
