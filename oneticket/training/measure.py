"""Measuring a network on a test set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """Accuracy (share of right answers, 0 to 1) and mean cross-entropy (nats) over `count` images."""

    accuracy: float
    loss: float
    count: int


def measure(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Measure:
    """Measure a model in evaluation mode and float32, then put its mode back; the device is synchronised once.

    >>> import torch
    >>> images, labels = torch.eye(3), torch.tensor([0, 1, 1])
    >>> measure(nn.Identity(), [(images, labels)]).accuracy
    0.6666666666666666
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    rights: list[Tensor] = []
    losses: list[Tensor] = []
    count = 0
    with torch.no_grad():
        for images, labels in batches:
            out = model(images)
            rights.append((out.argmax(1) == labels).sum())
            losses.append(cross_entropy(out, labels, reduction="sum"))
            count += len(labels)
    for module, mode in modes.items():
        module.training = mode
    # Summed in double precision on the CPU, since not every device has it.
    right, loss = int(torch.stack(rights).sum()), float(torch.stack(losses).cpu().double().sum())
    return Measure(accuracy=right / count, loss=loss / count, count=count)
