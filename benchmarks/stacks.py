"""What is compared: the floor, the usual stack, and oneticket, each in a process that trains when asked.

`python -m benchmarks.stacks STACK MODEL [THREADS [LEVEL]]` reads numbers of steps, one a line (0 for an evaluation),
does them, and answers each with a line. All stacks train the same network on the same images with the same optimizer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.usual import Usual
from oneticket.data.batches import per_epoch
from oneticket.data.data import Data, Examples
from oneticket.data.spec import DataSpec
from oneticket.ground.allocator import keep_freed
from oneticket.ground.streams import Streams
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.training import run_training
from oneticket.lottery.training_request import TrainingRequest
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.pruning.allocate import allocate
from oneticket.pruning.select import select
from oneticket.task.spec import TaskSpec
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.mask import Mask
from oneticket.training.measure import measure
from oneticket.training.spec import TrainingSpec

BATCH = 128
DATA = {"lenet-300-100": "fashion_mnist", "resnet-20": "cifar10", "vgg-19": "cifar10"}


class Stack(Protocol):
    """Something that trains."""

    def train(self, steps: int) -> None: ...

    def evaluate(self) -> None: ...


class Floor:
    """Yardstick 1: a bare PyTorch loop over normalised images in memory, its optimizer fused: no masks, no logging."""

    def __init__(self, model: nn.Module, data: Data, *, batch: int) -> None:
        assert isinstance(data.train, Examples)
        mean, std = (torch.tensor(moment, device=data.device).view(1, -1, 1, 1) for moment in (data.mean, data.std))
        self.images = (data.train.inputs.float() / 255 - mean) / std
        self.labels, self.batch, self.model = data.train.targets, batch, model.to(data.device)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, fused=True)

    def train(self, steps: int) -> None:
        """So many steps, in a new order every epoch."""
        self.model.train()
        epoch = len(self.labels) // self.batch
        for step in range(steps):
            if step % epoch == 0:
                order = torch.randperm(len(self.labels), device=self.labels.device)
            rows = order[step % epoch * self.batch :][: self.batch]
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.images[rows]), self.labels[rows]).backward()
            self.optimizer.step()

    def evaluate(self) -> None:
        """The floor does nothing beside its steps."""


class Ours:
    """oneticket: a training as every step of a search or a study does it, at a level of one."""

    def __init__(
        self, model: nn.Module, data: Data, *, batch: int, level: int = 0, context: RunContext | None = None
    ) -> None:
        self.model, self.data, self.context = model, data, context or RunContext(device=data.device)
        self.spec, self.streams = {"batch": batch}, Streams(root=0, replicate=0)
        self.mask = Mask.full({name: model.get_parameter(name) for name in prunable(model)})
        if level:
            self.train(100 if data.inputs.shape[0] == 1 else 10)  # so that it is trained weights that are pruned
            self.mask = pruned(model, level)

    def train(self, steps: int) -> None:
        """One training of so many steps, without an evaluation."""
        spec = TrainingSpec(budget=f"{steps}it", **self.spec)  # type: ignore[arg-type]
        model, mask, sgd = self.model, self.mask, OptimizerSpec(name="sgd")
        job = TrainingRequest(
            model=model, mask=mask, data=self.data, optimizer=sgd, training=spec, streams=self.streams, measured=False
        )
        run_training(job, self.context)

    def evaluate(self) -> None:
        """Test loss and accuracy."""
        from oneticket.data.batches import test_batches

        measure(self.model, test_batches(self.data), CLASSIFICATION)


def pruned(model: nn.Module, level: int) -> Mask:
    """The mask of that level, in one shot: the smallest of all weights go, and are set to zero."""
    weights = {name: model.get_parameter(name).detach() for name in prunable(model)}
    counts = {name: weight.numel() for name, weight in weights.items()}
    shares = allocate("global", counts=counts, fraction=1 - 0.8**level)
    mask = select(Mask.full(weights), {name: weight.abs().cpu() for name, weight in weights.items()}, shares)
    for name, weight in weights.items():
        weight.mul_(mask[name].to(weight.device))
    return mask


def stack(name: str, model: str, *, level: int = 0, context: RunContext | None = None, batch: int = BATCH) -> Stack:
    """A stack of the table, ready to train."""
    context = context or RunContext()
    data = context.data(DataSpec(name=DATA[model]), TaskSpec())
    network = build(ModelSpec(name=model), inputs=data.inputs, outputs=len(data.classes), seed=0)
    if name == "ours":
        return Ours(network, data, batch=batch, level=level, context=context)
    return STACKS[name](network, data, batch=batch)


def steps_of(model: str) -> int:
    """The steps of an epoch."""
    return per_epoch(RunContext().facts(DataSpec(name=DATA[model]), TaskSpec()), BATCH)


STACKS: Mapping[str, Callable[..., Any]] = {
    "floor": Floor,
    "usual": Usual,
    "usual-2-workers": partial(Usual, workers=2),
    "ours": Ours,
}

if __name__ == "__main__":
    name, model, threads, level = [*sys.argv[1:], "2", "0"][:4]
    torch.set_num_threads(int(threads))
    if name == "ours":
        keep_freed()  # as the workers of a study do
    made = stack(name, model, level=int(level))
    for line in sys.stdin:
        made.train(int(line)) if int(line) else made.evaluate()
        print("done", flush=True)
