"""Engines: how a plan is run, one step after the other or several at once; all leave the same store."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from oneticket.engine import inline, nursery, processes, run_ray
from oneticket.engine.cluster import ClusterShare
from oneticket.engine.scheduler import Front, Observer, Piles
from oneticket.ground.errors import SpecError
from oneticket.ground.memory import memory
from oneticket.ground.threads import cores
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store

Name = Literal["auto", "inline", "processes", "ray"]
WORTH = 16
"""Steps from which on several processes make up for their start."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The engine, and its resources.

    `name`: "auto" takes Ray if a cluster, ranks or a share of GPUs are given. Else it takes processes of this machine
    on CPUs, and Ray on several GPUs if it is installed, where there is room for two steps at once and the plan has
    enough of them. `address`: see `run_ray.run`. `cpus`, `gpus`, `memory` (bytes): the share of a step, or of a rank;
    by default one CPU per thread, and one GPU on CUDA. `ranks`: how many devices share one training. `together`: how
    many similar trainings may be one program, inline.

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

    def __post_init__(self) -> None:
        for what, count in (("ranks", self.ranks), ("together", self.together)):
            if count < 1:
                raise SpecError(f"{what}: expected at least 1, got {count}")
        by_ray = bool(self.address) or self.ranks > 1
        if self.together > 1 and (self.name in ("processes", "ray") or by_ray):
            raise SpecError(
                "together: workers train one network at a time; use --engine inline, or leave --together out"
            )
        if self.name in ("inline", "processes") and by_ray:
            raise SpecError(
                f"the engine {self.name} takes no address and no ranks; use --engine ray, or leave them out"
            )
        if self.name == "processes" and self.gpus:
            raise SpecError("the engine processes trains on CPUs; use --engine ray, or leave --gpus out")

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
    """Do the steps that are not in the store yet, with that engine; each engine's `run` documents events and errors."""
    steps = tuple(steps)
    store.define(*steps)  # all of them, also those that are done: a definition may have been lost
    taken = _taken(steps, store, context, engine)
    if taken != "processes":
        nursery.needless()
    match taken:
        case "ray":
            share = engine.share(context)
            options = {"address": engine.address, "share": share, "ranks": engine.ranks}
            return run_ray.run(steps, store=store, context=context, observe=observe, **options)  # type: ignore[arg-type]
        case "processes":
            most = max(1, _room(engine, context))
            return processes.run(steps, store=store, context=context, observe=observe, most=most)
        case _:
            return inline.run(steps, store=store, context=context, observe=observe, together=engine.together)


def at_once(steps: Iterable[Step], *, store: Store, context: RunContext, engine: Engine) -> int:
    """How many steps that engine would do side by side on this machine; what a cluster holds is not looked up."""
    inline = engine.address is not None or _taken(tuple(steps), store, context, engine) == "inline"
    return 1 if inline else max(1, _room(engine, context) // engine.ranks)


def _taken(steps: tuple[Step, ...], store: Store, context: RunContext, engine: Engine) -> Name:
    """The engine that is taken, none of them "auto"."""
    if engine.name != "auto":
        return engine.name
    if engine.address or engine.ranks > 1:
        return "ray"
    kind = context.device.type
    alone = engine.together > 1 or store.url.startswith("memory:") or kind == "mps" or _room(engine, context) < 2
    helps: Name = "processes" if kind == "cpu" and not engine.gpus and nursery.able() else "ray"
    if alone or (helps == "ray" and importlib.util.find_spec("ray") is None):
        return "inline"
    front = Front(steps, store=store)
    return helps if front.left >= WORTH and front.wide >= 2 and front.of_main is None else "inline"


def _room(engine: Engine, context: RunContext) -> int:
    """For how many steps this machine has room."""
    here = {"CPU": cores(), "GPU": torch.cuda.device_count(), "memory": memory() or float("inf")}
    shares = engine.share(context).resources
    return int(min(here[name] / amount for name, amount in shares.items()) + 1e-9)
