"""Seen on 2 cores (n = 2, lowest to highest): Ray with 2 workers took 0.79 (0.75 to 0.82) of the inline time, and 0.60
(0.57 to 0.62) but for its start of 5.2 s; a step beside its work 89 ms, inline 33 ms. The aim is 0.55: not reached.

What the engines cost: a study of small trainings inline (torch's own threads, and one) and by Ray, one thread each.

`python benchmarks/engines.py [ROUNDS]` trains LeNet-300-100 on digits: 4 searches of 7 levels, 120 epochs each, into a
new store for every engine and round, the engines in turn. It prints, with n and the lowest and highest, the ratios of
whole runs, what Ray's start took of them (from the call to the first step begun), and what a step costs beside work.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from oneticket.engine import inline, run_ray
from oneticket.lottery.place import Place
from oneticket.lottery.spec import SearchSpec
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.plan import search_origin

ENGINES = ("inline, torch's threads", "inline, 1 thread", "ray, 2 workers")
SEARCHES, LEVELS, BUDGET = 4, 6, "120ep"


def steps(budget: str) -> list[Step]:
    """The levels of all searches."""
    spec = SearchSpec(data="digits:a", model="lenet-300-100", training={"budget": budget}, rewind="1it")
    place = Place()
    found = [search_origin(spec, levels=LEVELS, replicate=replicate, place=place) for replicate in range(SEARCHES)]
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
            piles = run_ray.run(plan, store=store, place=Place(), observe=observe)
        else:
            if engine == ENGINES[1]:
                torch.set_num_threads(1)
            piles = inline.run(plan, store=store, place=Place(), observe=observe)
        took = time.perf_counter() - began
    assert len(piles.done) == SEARCHES * (LEVELS + 2)
    return took, heard[0]


def apart(engine: str, budget: str) -> tuple[float, float]:
    """The same in a process of its own, so that no engine finds what another left in memory."""
    asked = [sys.executable, __file__, "once", engine, budget]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    told = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.split()
    return float(told[0]), float(told[1])


def tell(what: str, values: list[float]) -> None:
    """One line: median, lowest, highest, n."""
    spread = f"{min(values):7.2f} to {max(values):.2f}  n = {len(values)}"
    print(f"{what:48} {statistics.median(values):7.2f}  {spread}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["once"]:
        print(*once(*sys.argv[2:]))
        sys.exit()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    runs = [{engine: apart(engine, BUDGET) for engine in ENGINES} for _ in range(rounds)]
    short = {engine: apart(engine, "2it") for engine in ENGINES}
    for engine in ENGINES:
        tell(f"{engine}: seconds", [run[engine][0] for run in runs])
    for engine in ENGINES[:2]:
        tell(f"ray / {engine}", [run[ENGINES[2]][0] / run[engine][0] for run in runs])
        ratios = [(run[ENGINES[2]][0] - run[ENGINES[2]][1]) / run[engine][0] for run in runs]
        tell(f"ray / {engine}, but for its start", ratios)
    tell("ray: seconds to the first step", [run[ENGINES[2]][1] for run in runs])
    for engine, (took, start) in short.items():
        each = (took - start) / (SEARCHES * (LEVELS + 2))
        print(f"{engine}: {1000 * each:.0f} ms a step that trains next to nothing")
