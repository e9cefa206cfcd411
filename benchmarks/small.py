"""What a step of a small network costs: our trainer, a mask held in it, over a bare loop with a fused optimizer.

`python -m benchmarks.small` prints it. LeNet-300-100 on images of 8 x 8, batch 64, one thread: a step is so short that
every call counts. Sides take turns; a ratio is of neighbouring blocks, of this thread's CPU time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import islice

import numba  # noqa: F401 - the guard takes its kernel at once
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.row import Row, row
from benchmarks.step import noise
from oneticket.data.batches import batches
from oneticket.data.data import Data, Examples
from oneticket.data.facts import per_epoch
from oneticket.ground.streams import Streams
from oneticket.guard.guard import guarded
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.inputs import Inputs
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.mask import Mask
from oneticket.training.loop import Run, train
from oneticket.training.spec import TrainingSpec
from oneticket.training.watch import Keeper, finite, watched

SHAPE, BATCH, DENSITY, ENDLESS = (1, 8, 8), 64, 0.1, 10**6
BLOCK, N = 60, 40
STREAMS = Streams(root=0, replicate=0)


def network() -> tuple[nn.Module, Mask]:
    """LeNet-300-100, of whose weights so many remain."""
    draws = torch.Generator().manual_seed(0)
    model = build(ModelSpec(name="lenet-300-100"), inputs=Inputs(shape=SHAPE), outputs=10, seed=0)
    weights = {name: model.get_parameter(name) for name in prunable(model)}
    mask = Mask({name: torch.rand(weight.shape, generator=draws) < DENSITY for name, weight in weights.items()})
    with torch.no_grad():
        for name, weight in weights.items():
            weight.mul_(mask[name])
    return model, mask


def bare(data: Data) -> Iterator[object]:
    """A dense loop over normalised images in memory, a step at a time."""
    assert isinstance(data.train, Examples)
    model, _ = network()
    images, labels = (data.train.inputs.float() / 255 - 0.5) / 0.5, data.train.targets
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, fused=True)
    while True:
        order = torch.randperm(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            rows = order[at : at + BATCH]
            optimizer.zero_grad()
            loss = cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            yield loss


def ours(data: Data) -> Iterator[object]:
    """Our trainer under a mask, and those who watch every training."""
    model, mask = network()
    spec, training = OptimizerSpec(name="sgd", lr=0.02), TrainingSpec(budget=f"{ENDLESS}it", batch=BATCH)
    made = build_optimizers(spec, model, head=head(model))
    with guarded(model, made, mask, rule="gate+project"), Keeper(None, seconds=20, stop=lambda: False) as keep:
        run = Run.begin(model, made, precision="float32", position=0, total=ENDLESS)
        steps = train(
            run,
            batches(data, batch=BATCH, streams=STREAMS, start=0, stop=ENDLESS),
            task=CLASSIFICATION,
            training=training,
            optimizer=spec,
            streams=STREAMS,
            per_epoch=per_epoch(data, BATCH),
            stop=ENDLESS,
        )
        yield from watched(steps, run, [finite(ENDLESS, every=50), keep])


def seconds(side: Iterator[object]) -> tuple[float, float]:
    """CPU and wall seconds of a block of steps."""
    cpu, wall = time.thread_time(), time.perf_counter()
    for _ in islice(side, BLOCK):
        pass
    return time.thread_time() - cpu, time.perf_counter() - wall


def rows(n: int = N) -> list[Row]:
    """The row of our trainer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = noise(SHAPE, count=1000)
    sides = ours(data), bare(data)
    turns = [[seconds(side) for side in sides] for _ in range(n + 2)][2:]
    torch.set_num_threads(threads)
    cpu, wall = ([one[at] / other[at] for one, other in turns] for at in (0, 1))
    low, middle, high = statistics.quantiles(cpu)
    each = 1e6 * statistics.median(other[0] for _, other in turns) / BLOCK
    note = f"CPU time, quartiles; wall time {statistics.median(wall):.2f}; a bare step takes {each:.0f} us; one thread"
    what = f"our trainer, masked / bare fused step: LeNet-300-100, 8 x 8, batch {BATCH}, {DENSITY:.0%} of weights"
    return [row(what, cpu, target="<= 1.15", note=note) | {"value": middle, "low": low, "high": high}]


if __name__ == "__main__":
    for found in rows():
        print(f"{found['what']:90} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}, n = {found['n']})")
        print(f"    target {found['target']}; {found['note']}")
