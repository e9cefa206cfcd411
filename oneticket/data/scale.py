"""The unit of targets that are numbers: a network is trained on scaled ones, and measured in their own unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oneticket.data.moments import moments


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Mean and standard deviation of each of K numbers, over the training part.

    >>> Scale(mean=(10.0,), std=(2.0,)).back(torch.tensor([[1.5]]))
    tensor([[13.]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, targets: Tensor) -> Scale:
        """That of training targets (N, K) on the CPU; a number that does not vary has deviation 1."""
        mean, std = moments(targets)
        return cls(mean=mean, std=std)

    def to(self, targets: Tensor) -> Tensor:
        """Targets (..., K) in their own unit as a network is trained on them."""
        return (targets - self._row(self.mean, targets)) / self._row(self.std, targets)

    def back(self, outputs: Tensor) -> Tensor:
        """A network's outputs (..., K) in the targets' own unit."""
        return outputs * self._row(self.std, outputs) + self._row(self.mean, outputs)

    def _row(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=like.device)
