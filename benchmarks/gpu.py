"""On a GPU: a step of oneticket over the floor's, and of VGG-19 at the paper's batch from level to level.

Rows come only where there is a CUDA device. The paper's search is extrapolated from steps: 31 levels x 160 epochs of
97 steps, at the densities of every fifth level, pruned in one shot from a few steps' weights.
"""

from __future__ import annotations

import time
from statistics import mean

import torch

from benchmarks.row import Row, absent, row
from benchmarks.side import lacking
from benchmarks.stacks import Ours, Stack, stack
from oneticket.lottery.run_context import RunContext

STEP = "a step on CUDA, level 0: oneticket / floor"
SEARCH = "VGG-19, the paper's full search, from steps"
CASES = {"lenet-300-100": (128, 500), "resnet-20": (128, 200), "vgg-19": (512, 40)}
LEVELS, EPOCH, EPOCHS, ROUNDS = range(0, 31, 5), 97, 160, 5


def seconds(made: Stack, steps: int) -> float:
    """Of a step, the device waited for; what a training takes once is taken off by doing one of half as many."""
    taken = []
    for count in (steps // 2, steps):
        torch.cuda.synchronize()
        began = time.perf_counter()
        made.train(count)
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return (taken[1] - taken[0]) / (steps - steps // 2)


def rows(rounds: int = ROUNDS) -> list[Row]:
    """Ratios per network, and minutes of the paper's search in float32 and bfloat16."""
    why = lacking() if torch.cuda.is_available() else "no GPU"
    if why:
        ratios = [absent(f"{name}: {STEP}", why, target="<= 1.05") for name in CASES]
        return [*ratios, absent(SEARCH, why, unit="min", target="<= 30")]
    context, found = RunContext(device=torch.device("cuda")), []
    name = torch.cuda.get_device_name()
    for model, (batch, steps) in CASES.items():
        sides = [stack(side, model, context=context, batch=batch) for side in ("ours", "floor")]
        for side in sides:
            side.train(steps)
        ratios = [seconds(sides[0], steps) / seconds(sides[1], steps) for _ in range(rounds)]
        found.append(row(f"{model}: {STEP}", ratios, target="<= 1.05", note=f"batch {batch}, {name}"))
    for precision in ("float32", "bfloat16"):
        taken: list[list[float]] = []
        for level in LEVELS:
            made = stack("ours", "vgg-19", level=level, context=context, batch=512)
            assert isinstance(made, Ours)
            made.spec["precision"] = precision
            made.train(CASES["vgg-19"][1])
            taken.append([seconds(made, CASES["vgg-19"][1]) for _ in range(rounds)])
        minutes = [31 * EPOCHS * EPOCH * mean(each) / 60 for each in zip(*taken, strict=True)]
        target = "<= 30" if precision == "bfloat16" else ""
        note = f"{precision}, batch 512, {name}; 31 x {EPOCHS} x {EPOCH} steps at the mean of levels 0, 5, ..., 30"
        found.append(row(f"{SEARCH}, {precision}", minutes, "min", target=target, note=note))
    return found
