"""What the engines cost: a study of small trainings inline (torch's threads, and one), by processes and by Ray.

LeNet-300-100 on digits: 4 searches of 7 levels, 120 epochs each, into a new store for every engine and round, the
engines in turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.row import Row, row
from oneticket.engine import inline, processes, run_ray
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin

ENGINES = ("inline, torch's threads", "inline, 1 thread", "processes, 2 workers", "ray, 2 workers")
SEARCHES, LEVELS, BUDGET = 4, 6, "120ep"


def steps(budget: str) -> list[Step]:
    """The levels of all searches."""
    spec = SearchSpec(data="digits:a", model="lenet-300-100", training={"budget": budget}, rewind="1it")
    context = RunContext()
    found = [search_origin(spec, levels=LEVELS, replicate=replicate, context=context) for replicate in range(SEARCHES)]
    return [step for each in found for step in each.levels]


def once(engine: str, budget: str) -> tuple[float, float]:
    """Seconds of a whole run in this process, and of them until the first step began."""
    heard: list[float] = []
    plan = steps(budget)
    with tempfile.TemporaryDirectory() as folder:
        store, began = Store(Path(folder)), time.perf_counter()

        def observe(*_: object) -> None:
            heard.append(time.perf_counter() - began)

        if engine.startswith("ray"):
            piles = run_ray.run(plan, store=store, context=RunContext(), observe=observe)
        elif engine.startswith("processes"):
            piles = processes.run(plan, store=store, context=RunContext(), observe=observe)
        else:
            if engine == ENGINES[1]:
                torch.set_num_threads(1)
            piles = inline.run(plan, store=store, context=RunContext(), observe=observe)
        took = time.perf_counter() - began
    assert len(piles.done) == SEARCHES * (LEVELS + 2)
    return took, heard[0]


def apart(engine: str, budget: str) -> tuple[float, float]:
    """The same in a process of its own, so that no engine finds what another left in memory."""
    asked = [sys.executable, "-m", "benchmarks.engines", "once", engine, budget]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    printed = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.split()
    return float(printed[0]), float(printed[1])


def rows(rounds: int = 2) -> list[Row]:
    """Whole runs by several workers over inline, with and without their start; what a step costs beside its work."""
    runs = [{engine: apart(engine, BUDGET) for engine in ENGINES} for _ in range(rounds)]
    short = {engine: apart(engine, "2it") for engine in ENGINES}
    found = []
    for several in ENGINES[2:]:
        for other in ENGINES[:2]:
            found.append(row(f"{several} / {other}", [run[several][0] / run[other][0] for run in runs]))
            started = [(run[several][0] - run[several][1]) / run[other][0] for run in runs]
            found.append(row(f"{several} / {other}, but for its start", started))
        found.append(row(f"{several}: seconds to the first step", [run[several][1] for run in runs], "s"))
    for engine, (took, start) in short.items():
        each = 1000 * (took - start) / (SEARCHES * (LEVELS + 2))
        found.append(row(f"{engine}: a step that trains next to nothing", [each], "ms"))
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["once"]:
        print(*once(*sys.argv[2:]))
        sys.exit()
    for each in rows():
        print(each)
