"""Where a step's time goes: the share of forward, backward, optimizer, guard, batch and the loop itself.

Python's own profiler follows some steps of a training; the time of every function, and of every operation called from
it, belongs to the part whose file it stands in, or to the backward pass that called it. Profiling makes a step longer,
by how much is said; shares are means of the runs; one thread.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from statistics import mean, median
from typing import Any

import torch

from benchmarks.row import Row, absent, row
from benchmarks.side import lacking
from benchmarks.stacks import Ours, stack
from oneticket.lottery.run_context import RunContext
from oneticket.training.loop import Run

CASES = {
    "LeNet-300-100, level 0": ("lenet-300-100", 0, 100, True),
    "LeNet-300-100, level 15": ("lenet-300-100", 15, 100, True),
    "LeNet-300-100, level 15, masked": ("lenet-300-100", 15, 100, False),
    "ResNet-20, level 0": ("resnet-20", 0, 6, True),
}
WARM, RUNS = 3, 3
PARTS = {  # in this order: the first that a function's file or name fits
    "backward": ("torch/autograd/", "torch/_tensor.py", "run_backward", ":backward"),
    "forward": ("torch/nn/", "torch/overrides", "oneticket/models/", "oneticket/compact/", "oneticket/guard/narrow"),
    "guard": ("oneticket/guard/",),
    "optimizer": ("torch/optim/", "oneticket/optim/", "torch/utils/_foreach_utils", "training/update"),
    "batch": ("oneticket/data/",),
}
LOOP = "loop"
ORDER = ("forward", "backward", "optimizer", "guard", "batch", LOOP)


class Watch:
    """Follows a run from step `WARM` on, with the profiler or without."""

    def __init__(self, steps: int, profiler: cProfile.Profile | None = None) -> None:
        self.last, self.profiler, self.seconds = WARM + steps, profiler, 0.0

    def __call__(self, run: Run) -> None:
        if run.position == WARM:
            self.began = time.perf_counter()
            if self.profiler:
                self.profiler.enable()
        elif run.position == self.last:
            if self.profiler:
                self.profiler.disable()
            self.seconds = time.perf_counter() - self.began


def part(file: str, name: str) -> str:
    """The part that a function belongs to."""
    where = f"{file}:{name}"
    return next((part for part, words in PARTS.items() if any(word in where for word in words)), LOOP)


def shares(profiler: cProfile.Profile, seconds: float) -> dict[str, float]:
    """Part -> its share; what belongs to none, and what the profiler does not see, is the loop's."""
    own: Counter[str] = Counter()
    table: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for (file, _, name), (_, _, alone, _, callers) in table.items():
        here, lent = part(file, name), 0.0
        for (caller_file, _, caller), (_, _, called, _) in callers.items():
            above = part(caller_file, caller)
            if (file == "~" and here == LOOP) or (here, above) == ("forward", "backward"):
                own[above] += called
                lent += called
        own[here] += alone - lent
    own[LOOP] = seconds - sum(own[part] for part in PARTS)
    return {part: own[part] / seconds for part in ORDER}


def followed(made: Ours, steps: int, profiler: cProfile.Profile | None) -> float:
    """Seconds of so many steps of a training."""
    watch = Watch(steps, profiler)
    made.context.watchers = (watch,)
    made.train(WARM + steps)
    return watch.seconds


def rows(steps: float = 1.0) -> list[Row]:
    """Per case, one row with the milliseconds of a step, whose points are the shares."""
    if why := lacking():
        return [absent(f"a step of {case}", why, unit="ms") for case in CASES]
    torch.set_num_threads(1)
    found = []
    for case, (model, level, count, compact) in CASES.items():
        many = max(2, round(steps * count))
        made = stack("ours", model, level=level, context=RunContext(compact=compact))
        assert isinstance(made, Ours)
        plain = [1000 * followed(made, many, None) / many for _ in range(RUNS)]
        profilers = [cProfile.Profile() for _ in range(RUNS)]
        seconds = [followed(made, many, profiler) for profiler in profilers]
        each = [shares(profiler, took) for profiler, took in zip(profilers, seconds, strict=True)]
        longer = 1000 * median(seconds) / many / median(plain)
        points = [{"case": case, "part": part, "share": mean(one[part] for one in each)} for part in ORDER]
        note = f"profiled, it takes {longer:.2f} of the time"
        found.append({**row(f"a step of {case}", plain, "ms", note=note), "points": points})
    return found
