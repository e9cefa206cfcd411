"""LeNet-300-100 on Fashion-MNIST, 20 levels x 4 replicates, whole process; an epoch of the others is multiplied.

On 2 cores, from an empty store to the last outcome, two epochs a level. oneticket does all of it, as `oneticket study`
does by default: two processes of one thread each. The usual stack and the floor do an epoch beside every such run, and
their time is multiplied: an epoch costs them the same at every level.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.row import Row, absent, row
from benchmarks.side import ENVIRONMENT, ROOT, Side, lacking, sides
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.study.grid import Plan
from oneticket.study.origins import search_origin
from oneticket.study.plan import search_cells

MODEL, ROUNDS = "lenet-300-100", 3


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much is searched: each level trains from step `rewind` to step `budget`, in batches of 128."""

    levels: int
    replicates: int
    budget: int
    rewind: int

    @property
    def trainings(self) -> int:
        """Levels of all replicates; each is evaluated once."""
        return self.replicates * (self.levels + 1)

    @property
    def steps(self) -> int:
        """Steps of all trainings, those up to the rewind points too."""
        return self.replicates * self.rewind + self.trainings * (self.budget - self.rewind)

    @property
    def spec(self) -> dict[str, Any]:
        """The search."""
        training = {"budget": f"{self.budget}it", "batch": 128}
        return {"data": "fashion_mnist", "model": MODEL, "training": training, "rewind": f"{self.rewind}it"}

    def plan(self, context: RunContext) -> Plan:
        """A study of nothing but searches."""
        spec, cells = SearchSpec.read(self.spec), []
        for replicate in range(self.replicates):
            cells += search_cells(search_origin(spec, levels=self.levels, replicate=replicate, context=context))
        return Plan(name="searches", cells=tuple(cells))


FULL = Work(levels=20, replicates=4, budget=936, rewind=100)
SHORT = Work(levels=20, replicates=4, budget=468, rewind=100)
SMALL = Work(levels=2, replicates=2, budget=40, rewind=10)  # to see that everything runs


def full(context: RunContext) -> Plan:
    """The study `benchmarks/whole.py:full`."""
    return FULL.plan(context)


def small(context: RunContext) -> Plan:
    """The study `benchmarks/whole.py:small`."""
    return SMALL.plan(context)


def study(name: str) -> float:
    """Seconds of the whole process, on an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        asked = [sys.executable, "-m", "oneticket", "study", f"benchmarks/whole.py:{name}"]
        began = time.perf_counter()
        subprocess.run([*asked, "--device", "cpu", "--store", folder, "--quiet"], check=True, cwd=ROOT, env=ENVIRONMENT)
        return time.perf_counter() - began


def rows(rounds: int = ROUNDS, work: Work = FULL) -> list[Row]:
    """The whole search, and by how much the usual stack and the floor take longer."""
    what = f"LeNet-300-100, {work.levels} levels x {work.replicates} replicates, whole process"
    if why := lacking():
        return [absent(f"{what}: usual stack / oneticket", why, target=">= 12")]
    usual = {"usual stack": Side("usual", MODEL), "usual stack, 2 loading workers": Side("usual-2-workers", MODEL)}
    floors = {"floor": Side("floor", MODEL), ABREAST: Side("floor", MODEL, abreast=2)}
    others = {**usual, **floors}
    ours: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in others}
    with sides(list(others.values())):
        for _ in range(rounds):
            ours.append(study("full" if work is FULL else "small"))
            for name, side in others.items():
                step = side.seconds(work.budget) / work.budget / len(side.processes)
                seconds[name].append(work.steps * step + work.trainings * side.seconds(0))
    best = min(usual, key=lambda name: sorted(seconds[name])[rounds // 2])
    found = []
    for name in (best, *(name for name in others if name not in (best, ABREAST))):
        ratios = [theirs / own for theirs, own in zip(seconds[name], ours, strict=True)]
        target = ">= 12" if name == best else ""
        note = NOTES.get(name, "the faster of the two" if name == best else "the slower of the two")
        found.append(row(f"{what}: {name} / oneticket", ratios, target=target, note=note))
    said = f"{work.steps:,} steps, {work.trainings} evaluations"
    least = [own / theirs for own, theirs in zip(ours, seconds[ABREAST], strict=True)]
    found.append(row(f"{what}: oneticket / {ABREAST}", least, target="<= 0.6", note=NOTES[ABREAST]))
    found += [row(f"the same work: {name}", taken, "s", note=said) for name, taken in seconds.items()]
    return [*found, row("the same work: oneticket", ours, "s", note=f"{said}; decoded data in the cache")]


ABREAST = "two floors side by side"
NOTES = {"floor": "evaluates nothing", ABREAST: "one thread each; evaluate nothing"}
