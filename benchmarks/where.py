"""Where a step's time goes: the share of forward, backward, optimizer, guard, batch and the loop itself.

Python's own profiler follows some steps of a training; the time of every function, and of every operation called from
it, belongs to the part whose file it stands in. Profiling makes a step longer, by how much is said; one thread.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from typing import Any

import torch

from benchmarks.row import Row, absent, row
from benchmarks.side import lacking
from benchmarks.stacks import Ours, stack
from oneticket.lottery.run_context import RunContext
from oneticket.training.loop import Run

CASES = {
    "LeNet-300-100, level 0": ("lenet-300-100", 0, 100),
    "LeNet-300-100, level 15": ("lenet-300-100", 15, 100),
    "ResNet-20, level 0": ("resnet-20", 0, 6),
}
WARM = 3
PARTS = {  # in this order: the first that a function's file or name fits
    "backward": ("torch/autograd/", "torch/_tensor.py", "run_backward", ":backward"),
    "forward": ("torch/nn/", "torch/overrides", "oneticket/models/", "oneticket/compact/", "oneticket/guard/narrow"),
    "guard": ("oneticket/guard/",),
    "optimizer": ("torch/optim/", "oneticket/optim/", "torch/utils/_foreach_utils"),
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
        if file == "~" and "run_backward" not in name:
            for (caller_file, _, caller), (_, _, called, _) in callers.items():
                own[part(caller_file, caller)] += called
        else:
            own[part(file, name)] += alone
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
    for case, (model, level, count) in CASES.items():
        many, made = max(2, round(steps * count)), stack("ours", model, level=level, context=RunContext())
        assert isinstance(made, Ours)
        plain = [1000 * followed(made, many, None) / many for _ in range(3)]
        profiler = cProfile.Profile()
        seconds = followed(made, many, profiler)
        each = shares(profiler, seconds)
        longer = 1000 * seconds / many / sorted(plain)[1]
        points = [{"case": case, "part": part, "share": share} for part, share in each.items()]
        note = f"profiled, it takes {longer:.2f} of the time"
        found.append({**row(f"a step of {case}", plain, "ms", note=note), "points": points})
    return found
