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
    right: Tensor | int = 0
    loss: Tensor | float = 0.0
    count = 0
    with torch.no_grad():
        for images, labels in batches:
            out = model(images)
            right = right + (out.argmax(1) == labels).sum()
            loss = loss + cross_entropy(out, labels, reduction="sum").double()
            count += len(labels)
    for module, mode in modes.items():
        module.training = mode
    return Measure(accuracy=int(right) / count, loss=float(loss) / count, count=count)
