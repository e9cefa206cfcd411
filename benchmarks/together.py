"""Replicates together: a training step of several as one program, over the same steps one after the other.

`python -m benchmarks.together` prints the ratio of seconds per step and replicate (below 1: together pays), medians of
neighbouring blocks of steps with lowest and highest. On CUDA where there is one, else one CPU thread, where it does not
pay and is not meant to: there, one-thread processes side by side are the way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import torch

from benchmarks.row import Row, row
from benchmarks.step import reading
from oneticket.data.batches import batches, per_epoch
from oneticket.data.data import Data, Examples
from oneticket.ground.streams import Streams
from oneticket.models.build import build
from oneticket.models.parts import head
from oneticket.models.spec import ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.inputs import Inputs
from oneticket.task.task import CLASSIFICATION
from oneticket.training.loop import Run, train
from oneticket.training.spec import TrainingSpec
from oneticket.training.vmap_training import Together

COUNT, ROUNDS = 4, 7
CASES = {  # network, shape, batch, steps of a block on the CPU and on CUDA
    "lenet-300-100": (ModelSpec(name="lenet-300-100"), (1, 28, 28), 128, 20, 300),
    "conv-2, a quarter as wide": (ModelSpec(name="conv-2", width=0.25), (3, 32, 32), 60, 3, 200),
    "resnet-20": (ModelSpec(name="resnet-20"), (3, 32, 32), 128, 1, 60),
}
SGD = OptimizerSpec(name="sgd")


class Replicates:
    """Some networks in training on random images, together or one after the other."""

    def __init__(self, case: str, *, together: bool, device: torch.device) -> None:
        model, shape, batch, *_ = CASES[case]
        data, training = images(shape, device), TrainingSpec(budget="100000it", batch=batch)
        plan = {
            "task": CLASSIFICATION,
            "training": training,
            "optimizer": SGD,
            "per_epoch": per_epoch(data, batch),
            "stop": 100_000,
        }
        runs, feeds = [], []
        for replicate in range(COUNT):
            streams = Streams(root=0, replicate=replicate)
            net = build(model, inputs=Inputs(shape=shape), outputs=10, seed=replicate)
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            made = build_optimizers(SGD, net, head=head(net))
            runs.append(Run.begin(net, made, precision="float32", position=0, total=100_000))
            feeds.append(batches(data, batch=batch, streams=streams, start=0, stop=100_000))
        self.trainings: list[Iterator[int]]
        if together:
            self.trainings = [Together.begin(runs, SGD).train(feeds, **plan)]  # type: ignore[arg-type]
        else:
            streams = Streams(root=0, replicate=0)  # what no network here draws from
            self.trainings = [
                train(run, feed, streams=streams, **plan)  # type: ignore[arg-type]
                for run, feed in zip(runs, feeds, strict=True)
            ]

    def seconds(self, steps: int) -> float:
        """Of so many steps of every network."""
        began = time.perf_counter()
        for each in self.trainings:
            for _ in islice(each, steps):
                pass
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began


def images(shape: tuple[int, int, int], device: torch.device, count: int = 4096) -> Data:
    """Random ones, as many as some epochs need."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, *shape), generator=draw, dtype=torch.uint8)
    part = Examples(inputs=pixels.to(device), targets=torch.randint(10, (count,), generator=draw).to(device))
    return Data(
        train=part,
        test=part,
        inputs=Inputs(shape=shape),
        outputs=10,
        classes=tuple("0123456789"),
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
        digest="",
        device=device,
        reading=reading(count),
    )


def rows(rounds: int = ROUNDS) -> list[Row]:
    """One ratio per network."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name() if cuda else "CPU, one thread"
    threads, found = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for case, (_, _, batch, short, long) in CASES.items():
        steps = long if cuda else short
        sides = [Replicates(case, together=together, device=device) for together in (True, False)]
        for side in sides:
            side.seconds(2)
        ratios, taken = [], []
        for _ in range(rounds):
            together, alone = (side.seconds(steps) for side in sides)
            ratios.append(together / alone)
            taken.append(1e3 * alone / (steps * COUNT))
        note = f"batch {batch}, {name}; alone {sorted(taken)[rounds // 2]:.2g} ms a step and replicate"
        found.append(row(f"{case}: a step and replicate, {COUNT} together / alone", ratios, note=note))
    torch.set_num_threads(threads)
    return found


if __name__ == "__main__":
    for each in rows():
        spread = f"{each['low']:.2f} to {each['high']:.2f}  n = {each['n']}"
        print(f"{each['what']:72} {each['value']:5.2f}  {spread}  ({each['note']})")
