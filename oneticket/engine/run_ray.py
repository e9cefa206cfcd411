"""The Ray engine: steps in parallel, from a laptop's cores to a cluster. Ray gets a store's URL and an address only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from oneticket.engine.cluster import ClusterShare, cluster, fitting
from oneticket.engine.crew import named, reachable, walk
from oneticket.engine.scheduler import Front, Observer, Piles
from oneticket.engine.worker import Answer, Worker, answer
from oneticket.ground.errors import SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store


def run(
    steps: Iterable[Step],
    *,
    store: Store,
    context: RunContext,
    observe: Observer | None = None,
    address: str | None = None,
    share: ClusterShare | None = None,
    ranks: int = 1,
) -> Piles:
    """Do the steps that are not in the store yet, as many at once as the machines have shares.

    `address`: this machine only (None), the cluster it belongs to ("auto"), or that of a `host:port`. A step whose
    worker or node is lost is begun again, from its last checkpoint. `context` gives the kind of device, the threads of
    a training (one by default), the time between checkpoints, and when to stop: all running steps then write one. Its
    watchers stay here: workers have none. With `ranks` above 1, every training is shared by so many workers, each with
    its own share.

    Raises SpecError for a share that no machine has, StoreError for a store that workers cannot reach and for workers
    that do not start, and KeyboardInterrupt when asked to stop. `observe` receives the events of `inline.run`.
    """
    reachable(store)
    share = share or ClusterShare(gpus=1 if context.device.type == "cuda" else 0)
    if (context.device.type == "cuda") != bool(share.gpus):
        raise SpecError(f"a step's share: {share.gpus} GPUs do not fit the device {context.device.type}")
    front = Front(steps, store=store, observe=observe, longest_first=True)
    if not front.left:
        return front.piles()
    named(front)
    with cluster(address):
        actors = _Actors(store=store, context=context, share=share, ranks=ranks)
        return walk(front, actors, store=store, context=context)


@dataclass(kw_only=True)
class _Actors:
    """Ray's actors, and what each promised to answer. Ray starts many on a lost machine until it notices."""

    store: Store
    context: RunContext
    share: ClusterShare
    ranks: int
    starts: int = 12
    promised: dict[Any, Any] = field(default_factory=dict)

    def room(self) -> int:
        """See `crew.Workers`."""
        return fitting(self.share, each=self.ranks)

    def start(self) -> Any:
        """An actor with its share; of several ranks, each has a share, and the actor that gathers them only waits."""
        import ray

        alone = {"num_cpus": self.share.cpus, "num_gpus": self.share.gpus, "memory": self.share.memory}
        options = {"concurrency_groups": {"ears": 1}, **(alone if self.ranks == 1 else {"num_cpus": 0})}
        kind: Any = ray.remote(**options)(Worker)  # type: ignore[call-overload]
        worker = kind.remote(
            url=self.store.location,
            device=self.context.device.type,
            every=self.context.every,
            compact=self.context.compact,
            compiled=self.context.compiled,
            threads=self.context.threads or 1,
            share=self.share,
            ranks=self.ranks,
        )
        self.promised[worker.hello.remote()] = worker
        return worker

    def give(self, worker: Any, key: str) -> None:
        """Have it do the step."""
        self.promised[worker.do.remote(key)] = worker

    def heard(self, pause: float) -> list[tuple[Any, Answer]]:
        """The first answer that comes."""
        import ray

        found = []
        for ref in ray.wait([*self.promised], num_returns=1, timeout=pause)[0]:
            worker = self.promised.pop(ref)
            try:
                found.append((worker, ray.get(ref)))
            except ray.exceptions.RayError as error:
                found.append((worker, answer("gone", error)))
        return found

    def ask_to_stop(self, worker: Any) -> None:
        """Tell it beside the step that it does."""
        worker.stop.options(concurrency_group="ears").remote()

    def end(self, worker: Any) -> None:
        """Kill it."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(worker)
