"""Measuring a network on a test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from oneticket.data.scale import Scale
from oneticket.ground.errors import TrainingError
from oneticket.task.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The score in the task's metric, every measure by name, and the mean training loss, over `count` targets."""

    score: float
    scores: Mapping[str, float]
    loss: float
    count: int


def measure(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], task: Task, scale: Scale | None = None
) -> Measured:
    """Measure a model in evaluation mode and float32, then restore its mode; the device is synchronised once.

    `batches` yields inputs and targets on the model's device; targets that are numbers come in their own unit.
    `scale` is the scale of such targets: the loss is computed on scaled targets, as in training, and the measures in
    the targets' own unit.

    Raises TrainingError if a loss or a total is not a tensor of one number.

    >>> from oneticket.task.task import CLASSIFICATION
    >>> images, labels = torch.eye(3), torch.tensor([0, 1, 1])
    >>> measure(nn.Identity(), [(images, labels)], CLASSIFICATION).score
    0.6666666666666666
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    totals: dict[str, list[Tensor]] = {name: [] for name in task.measures}
    losses: list[Tensor] = []
    count = 0
    with torch.no_grad():
        for inputs, targets in batches:
            output = model(inputs)
            losses.append(
                _one(task.loss(output, _scaled(targets, scale), "sum"), f'{task.name}: loss with reduction "sum"')
            )
            output = output if scale is None else scale.back(output)
            for name, each in task.measures.items():
                totals[name].append(_one(each.total(output, targets), f"{task.name}: total of {name}"))
            count += targets.numel()
    for module, mode in modes.items():
        module.training = mode
    scores = {name: each.score(_sum(totals[name]) / count) for name, each in task.measures.items()}
    return Measured(score=scores[task.counts], scores=scores, loss=_sum(losses) / count, count=count)


def _scaled(targets: Tensor, scale: Scale | None) -> Tensor:
    return targets if scale is None else scale.to(targets)


def _one(value: object, what: str) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"one of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise TrainingError(f"task {what}: expected a tensor of one number, got {got}")
    return value.reshape(())


def _sum(parts: list[Tensor]) -> float:
    """The sum in double precision, on the CPU, since not every device supports double precision."""
    return float(torch.stack(parts).cpu().double().sum())
