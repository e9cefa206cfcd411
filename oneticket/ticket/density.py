"""How dense a network is, with both denominators: of the weights that a mask names, and of the whole model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Density:
    """`remaining` of `total` weights under a mask's names, in a model of `whole` weights; those without a mask remain.

    >>> print(Density(remaining=1, total=8, whole=16))
    density 0.125 of 8 prunable weights, 0.5625 of all 16
    """

    remaining: int
    total: int
    whole: int

    @property
    def prunable(self) -> float:
        """Of the weights under the mask's names; 1.0 if there are none."""
        return self.remaining / self.total if self.total else 1.0

    @property
    def model(self) -> float:
        """Of all weights of the model; 1.0 if there are none."""
        return (self.remaining + self.whole - self.total) / self.whole if self.whole else 1.0

    def __str__(self) -> str:
        return f"density {self.prunable:.4g} of {self.total:,} prunable weights, {self.model:.4g} of all {self.whole:,}"


def count_weights(tensors: Mapping[str, Tensor]) -> int:
    """How many weights a model of these tensors has: its floating-point values, tied ones once.

    BatchNorm's statistics are among those of a ticket, which does not know which of its tensors are parameters.

    >>> import torch
    >>> one = torch.zeros(2, 3)
    >>> count_weights({"embed": one, "head": one, "steps": torch.tensor(3)})
    6
    """
    return sum(each.numel() for each in {id(one): one for one in tensors.values()}.values() if each.is_floating_point())


def model_weights(model: nn.Module) -> int:
    """How many weights the model has on this rank, tied ones once; lazy ones count once they exist.

    >>> from torch import nn
    >>> model_weights(nn.Linear(2, 3))
    9
    """
    from torch.nn.parameter import is_lazy

    from oneticket.ticket.shards import local

    return sum(local(one).numel() for one in model.parameters() if not is_lazy(one))
