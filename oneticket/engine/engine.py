"""Engines: how a plan is run, here one step after the other, or by Ray side by side; both leave the same store."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from oneticket.engine import inline, run_ray
from oneticket.engine.cluster import ClusterShare
from oneticket.engine.scheduler import Front, Observer, Piles
from oneticket.ground.errors import SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store

Name = Literal["auto", "inline", "ray"]
WORTH = 24  # steps from which on starting Ray, some ten seconds, is made up for


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The engine, and its resources.

    `name`: "auto" takes Ray if a cluster or ranks are given, or if Ray is installed, this machine has room for two
    steps at once, and the plan has enough of them. `address`: see `run_ray.run`. `cpus`, `gpus`, `memory` (bytes): the
    share of a step, or of a rank; by default one CPU per thread, and one GPU on CUDA. `ranks`: how many devices share
    one training. `together`: how many similar trainings may be one program, inline. `processes`: how many processes of
    this machine may run steps in parallel, inline, as far as its cores and the plan allow.

    >>> Engine(ranks=2, cpus=4).share(RunContext())
    ClusterShare(cpus=4, gpus=0, memory=None)
    """

    name: Name = "auto"
    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None
    ranks: int = 1
    together: int = 1
    processes: int = 1

    def __post_init__(self) -> None:
        for what, count in (("ranks", self.ranks), ("together", self.together), ("processes", self.processes)):
            if count < 1:
                raise SpecError(f"{what}: expected at least 1, got {count}")
        if self.together > 1 and (self.name == "ray" or self.address or self.ranks > 1):
            raise SpecError(
                "together: workers of ray train one network at a time; use --engine inline, or leave --together out"
            )
        if self.name == "inline" and (self.address or self.ranks > 1):
            raise SpecError("the engine inline takes no address and no ranks; use --engine ray, or leave them out")

    def share(self, context: RunContext) -> ClusterShare:
        """The share of one step, or of one of its ranks."""
        gpus = (1 if context.device.type == "cuda" else 0) if self.gpus is None else self.gpus
        cpus = (context.threads or 1) if self.cpus is None else self.cpus
        return ClusterShare(cpus=cpus, gpus=gpus, memory=self.memory)


def run(
    steps: Iterable[Step],
    *,
    store: Store,
    context: RunContext,
    observe: Observer | None = None,
    engine: Engine = Engine(),
) -> Piles:
    """Do the steps that are not in the store yet, with that engine; `run` and `run_ray` document events and errors."""
    steps = tuple(steps)
    store.define(*steps)  # all of them, also those that are done: a definition may have been lost
    if not _by_ray(steps, store, context, engine):
        many = {"together": engine.together, "processes": engine.processes}
        return inline.run(steps, store=store, context=context, observe=observe, **many)
    share = engine.share(context)
    options = {"address": engine.address, "share": share, "ranks": engine.ranks}
    return run_ray.run(steps, store=store, context=context, observe=observe, **options)  # type: ignore[arg-type]


def at_once(steps: Iterable[Step], *, store: Store, context: RunContext, engine: Engine) -> int:
    """How many steps that engine would do side by side on this machine; what a cluster holds is not looked up."""
    steps = tuple(steps)
    ray = _by_ray(steps, store, context, engine) and engine.address is None
    return max(1, int(_room(engine, context) + 1e-9) // engine.ranks) if ray else 1


def _by_ray(steps: tuple[Step, ...], store: Store, context: RunContext, engine: Engine) -> bool:
    if engine.name != "auto" or engine.address or engine.ranks > 1 or engine.together > 1:
        return engine.name != "inline" and engine.together == 1
    alone = store.url.startswith("memory:") or context.device.type == "mps"
    if _room(engine, context) < 2 or alone or importlib.util.find_spec("ray") is None:
        return False
    front = Front(steps, store=store)
    return front.left >= WORTH and front.wide >= 2


def _room(engine: Engine, context: RunContext) -> float:
    """For how many steps this machine has room."""
    here = {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}
    share = engine.share(context)
    return min(here[name] / amount for name, amount in share.resources.items() if name in here)
