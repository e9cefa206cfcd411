"""Layers that draw random numbers, on fewer units: they draw for all, so that those that stay get what they got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn


def order(x: Tensor) -> tuple[int, ...]:
    """The dimensions of a tensor as they lie in memory, the outermost first.

    >>> import torch
    >>> order(torch.zeros(2, 3).t())
    (1, 0)
    """
    steps = x.stride()
    return tuple(sorted(range(x.dim()), key=lambda dim: -steps[dim]))


@final
class Wide(nn.Module):
    """A dropout layer whose input lacks removed units; elementwise, and bit-equal to dropout on the whole tensor.

    `kept`: which of the `count` places of dimension `dim` remain; `order`: the dimensions of the whole tensor in memory
    order, the outermost first, since numbers are drawn in memory order.

    >>> import torch
    >>> narrow = Wide(nn.Dropout(0.5), torch.tensor([0, 3]), count=4, dim=1, order=(0, 1))
    >>> whole = torch.ones(2, 4)
    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(0)
    ...     expected = nn.Dropout(0.5)(whole)[:, [0, 3]]
    ...     _ = torch.manual_seed(0)
    ...     torch.equal(narrow(whole[:, [0, 3]]), expected)
    True
    """

    def __init__(self, layer: nn.Module, kept: Tensor, *, count: int, dim: int, order: Sequence[int]) -> None:
        super().__init__()
        self.layer, self.count, self.dim, self.order = layer, count, dim, tuple(order)
        self.register_buffer("kept", kept, persistent=False)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer does."""
        if not self.training:
            out: Tensor = self.layer(x)
            return out
        kept = self.get_buffer("kept")
        shape = [self.count if dim == self.dim else size for dim, size in enumerate(x.shape)]
        whole = x.new_zeros([shape[dim] for dim in self.order]).permute(
            [self.order.index(dim) for dim in range(x.dim())]
        )
        drawn: Tensor = self.layer(whole.index_copy_(self.dim, kept, x))  # in place it keeps its order
        return drawn.index_select(self.dim, kept)

    def extra_repr(self) -> str:
        """For `print(network)`."""
        return f"{len(self.get_buffer('kept'))} of {self.count}"
