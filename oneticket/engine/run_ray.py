"""The Ray engine: steps in parallel, from a laptop's cores to a cluster. Ray gets a store's URL and an address only."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from oneticket.engine.cluster import ClusterShare, cluster, fitting
from oneticket.engine.execute import PAUSE, attempt
from oneticket.engine.scheduler import Front, Observer, Piles
from oneticket.engine.worker import Answer, Worker
from oneticket.ground import errors
from oneticket.ground.errors import OneticketError, SpecError, StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store

LOSSES = 4
"""How often a step may lose its process before that counts as its own fault."""

STARTS = 12
"""How many workers in a row may fail to start: Ray sends them to a lost machine until it notices."""


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
    if store.url.startswith("memory:"):
        raise StoreError(
            f"the store {store.url} exists in this process only, and workers cannot reach it; give --store a folder or "
            "an s3:// URL"
        )
    share = share or ClusterShare(gpus=1 if context.device.type == "cuda" else 0)
    if (context.device.type == "cuda") != bool(share.gpus):
        raise SpecError(f"a step's share: {share.gpus} GPUs do not fit the device {context.device.type}")
    front = Front(steps, store=store, observe=observe, longest_first=True)
    if not front.left:
        return front.piles()
    with cluster(address):
        crew = _Crew(store=store, context=context, front=front, share=share, ranks=ranks)
        try:
            while front.left:
                crew.hire()
                crew.hand_out()
                crew.hear()
                if context.stop():
                    crew.stop()
                    raise KeyboardInterrupt
        finally:
            crew.dismiss()
    return front.piles()


@dataclass(kw_only=True)
class _Crew:
    """The workers: those that are coming, those at a step (each by what it promised to answer), and those at rest."""

    store: Store
    context: RunContext
    front: Front
    share: ClusterShare
    ranks: int
    coming: dict[Any, Any] = field(default_factory=dict)
    busy: dict[Any, tuple[Any, Step]] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)

    def hire(self) -> None:
        """Ask for as many workers as there are steps to begin, and as the machines hold."""
        import ray

        lacking = self.front.ready - len(self.idle) - len(self.coming)
        if lacking <= 0:
            return
        room = fitting(self.share, each=self.ranks) - len(self.idle) - len(self.coming) - len(self.busy)
        # Of several ranks, each has a share; the worker that brings them together only waits.
        alone = {"num_cpus": self.share.cpus, "num_gpus": self.share.gpus, "memory": self.share.memory}
        options = {"concurrency_groups": {"ears": 1}, **(alone if self.ranks == 1 else {"num_cpus": 0})}
        kind: Any = ray.remote(**options)(Worker)  # type: ignore[call-overload]
        for _ in range(min(lacking, room)):
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
            self.coming[worker.hello.remote()] = worker

    def hand_out(self) -> None:
        """Give every worker at rest a step; what needs a file of this machine is done here."""
        while self.idle and (step := self.front.take()):
            try:
                if step.file is not None:
                    self.front.end(step, attempt(step, self.store, self.context))
                    continue
                self.store.define(step)
            except OneticketError as error:
                self.front.fail(step, error)
                continue
            worker = self.idle.pop()
            self.busy[worker.do.remote(step.key)] = worker, step

    def hear(self) -> None:
        """Wait a moment for answers, and handle them."""
        import ray

        asked = [*self.busy, *self.coming]
        if not asked:
            threading.Event().wait(PAUSE)
            return
        for ref in ray.wait(asked, num_returns=1, timeout=PAUSE)[0]:
            worker, step = self.busy.pop(ref) if ref in self.busy else (self.coming.pop(ref), None)
            try:
                answer = ray.get(ref)
            except ray.exceptions.RayError as error:
                ray.kill(worker)
                self._lost(step, str(error))
                continue
            if step is None or answer["said"] != "broke":
                self.idle.append(worker)
            else:
                ray.kill(worker)  # removes whatever state the step left in the process
            for line in answer["warnings"] if step is not None else ():
                warnings.warn(line, errors.KeptWarning, stacklevel=2)
            if step is not None:
                self._sort(step, answer)
            else:
                self.losses.pop("", None)

    def stop(self) -> None:
        """Ask all steps under way to write a checkpoint and stop, and wait until they have."""
        for worker, _ in self.busy.values():
            worker.stop.options(concurrency_group="ears").remote()
        while self.busy:
            self.hear()

    def dismiss(self) -> None:
        """End all workers, at once."""
        import ray

        for worker in [*self.idle, *self.coming.values(), *(worker for worker, _ in self.busy.values())]:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(worker)
        self.idle.clear()
        self.coming.clear()
        self.busy.clear()

    def _sort(self, step: Step, answer: Answer) -> None:
        said, text = answer["said"], answer["text"]
        if said == "lost":
            self._lost(step, text)
        elif said == "failed":
            kind = getattr(errors, answer["error"], StoreError)
            self.front.fail(step, kind(text))
        elif said == "broke":
            self._fail(step, text)
        elif said != "stopped":
            self.front.end(step, said)

    def _lost(self, step: Step | None, words: str) -> None:
        """Count a loss; a step is begun again, unless it was lost too often by now."""
        self.losses[step.key if step else ""] += 1
        often = self.losses[step.key if step else ""]
        if step is None:
            if often >= STARTS:
                raise StoreError(f"Ray's workers failed to start {often} times; the last error: {words}")
            threading.Event().wait(PAUSE * often)
        elif often < LOSSES:
            self.front.end(step, "lost")
        else:
            hint = "; if memory ran out, give it a larger share; what it reached is kept, so run again to go on"
            self._fail(step, f"its worker was lost {often} times{hint}. The last time: {words}")

    def _fail(self, step: Step, words: str) -> None:
        with contextlib.suppress(StoreError):
            self.store.note_failure(step, words)
        self.front.fail(step, StoreError(words))
