"""A step of a ticket in your own loop beside one of torch-pruning's narrower network that is as accurate as the ticket.

LeNet-300-100 on Fashion-MNIST. A dense network is trained; the ticket keeps 10 % of its weights, the largest, and
torch-pruning (`MagnitudePruner`) takes more and more units out of a copy. Each is trained on for as many steps. Of the
narrower networks, the smallest counts that loses no more than `MARGIN` against the ticket. Steps take turns; CPU time.
"""

from __future__ import annotations

import copy
import statistics
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from benchmarks.own_loop import Peer, Side
from benchmarks.row import Row, absent, row
from benchmarks.side import lacking
from benchmarks.stacks import BATCH, DATA, Floor, pruned
from oneticket.compact.in_loop import Compacted
from oneticket.data.batches import test_batches
from oneticket.data.data import Data, Examples
from oneticket.data.spec import DataSpec
from oneticket.guard.guard import attach
from oneticket.lottery.run_context import RunContext
from oneticket.models.build import build
from oneticket.models.spec import ModelSpec
from oneticket.task.spec import TaskSpec
from oneticket.task.task import CLASSIFICATION
from oneticket.training.measure import measure

MODEL, LEVEL, STEPS, MARGIN = "lenet-300-100", 10, 2340, 0.0025
RATIOS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
BLOCK, N = 12, 40
WHAT = "own loop, Compacted at 10 % / torch-pruning's network of equal accuracy: lenet-300-100, 28 x 28, batch 128"


def trained(model: nn.Module, data: Data, steps: int, *, mask: Any = None) -> float:
    """Train so many steps more, under a mask if there is one; the test accuracy."""
    floor = Floor(model, data, batch=BATCH)
    guard = attach(model, floor.optimizer, mask) if mask is not None else None
    floor.train(steps)
    if guard is not None:
        guard.detach()
    return float(measure(model, test_batches(data), CLASSIFICATION).score)


def narrower(model: nn.Module, ratio: float, example: torch.Tensor) -> nn.Module:
    """A copy with so large a share of its hidden units taken out, the smallest first."""
    import torch_pruning

    model = copy.deepcopy(model)
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    how = {"importance": torch_pruning.importance.MagnitudeImportance(p=2), "ignored_layers": [last]}
    torch_pruning.pruner.MagnitudePruner(model, example, pruning_ratio=ratio, global_pruning=False, **how).step()
    return model


def rows(steps: int = STEPS, n: int = N) -> list[Row]:
    """The step of one over that of the other, and what either network reached."""
    if why := lacking() or ("" if find_spec("torch_pruning") else "torch-pruning is not installed"):
        return [absent(WHAT, why)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = RunContext().data(DataSpec(name=DATA[MODEL]), TaskSpec())
    assert isinstance(data.train, Examples)
    dense = build(ModelSpec(name=MODEL), inputs=data.inputs, outputs=data.outputs, seed=0)
    whole = trained(dense, data, steps)
    ticket = copy.deepcopy(dense)
    with torch.no_grad():
        mask = pruned(ticket, LEVEL)
    sparse = trained(ticket, data, steps, mask=mask)
    example = torch.zeros(2, *data.inputs.shape)
    small, reached, size = dense, whole, 1.0
    for ratio in RATIOS:
        one = narrower(dense, ratio, example)
        if (found := trained(one, data, steps)) < sparse - MARGIN:
            break
        small, reached, size = one, found, 1 - ratio
    images = torch.randn(BATCH, *data.inputs.shape, generator=torch.Generator().manual_seed(0))
    sides = Side(ticket, images, Compacted, mask), Side(small, images, Peer, None)
    for side in sides:
        side.steps(BLOCK)
    turns = [[side.steps(BLOCK)[0] for side in sides] for _ in range(n)]
    torch.set_num_threads(threads)
    low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in turns])
    said = f"{whole:.3f} dense, {sparse:.3f} ticket, {reached:.3f} with {size:.0%} of the units"
    note = f"CPU time, quartiles; test accuracy after {steps:,} more steps: {said}; one seed; one thread"
    return [row(WHAT, [middle], note=note) | {"low": low, "high": high, "n": n}]


if __name__ == "__main__":
    for found in rows():
        print(f"{found['what']} {found['value']} ({found['low']} to {found['high']}, n = {found['n']}) {found['note']}")
