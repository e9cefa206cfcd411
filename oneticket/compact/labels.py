"""Labels: which unit each number of a tensor belongs to, in a tensor of whole numbers of the same rank.

A dimension along which all is one unit's has size 1, so that labels are small. `NONE` is what is no unit's: an input, a
constant, or the result of something that is not known.
"""

from __future__ import annotations

import torch
from torch import Tensor

NONE = 0


def tight(labels: Tensor) -> Tensor:
    """With size 1 wherever all is one unit's.

    >>> tight(torch.tensor([[1, 2], [1, 2]]))
    tensor([[1, 2]])
    """
    for dim, size in enumerate(labels.shape):
        first = labels.narrow(dim, 0, min(1, size))
        if size > 1 and (labels.stride(dim) == 0 or bool((labels == first).all())):
            labels = first
    return labels.contiguous()


def varies(labels: Tensor, dim: int) -> bool:
    """Whether there are several units along a dimension."""
    return labels.shape[dim] > 1


def along(labels: Tensor, dim: int, size: int) -> Tensor | None:
    """The unit at each of the places of one dimension, or None if other dimensions have several units too.

    >>> along(torch.tensor([[3], [4]]), 0, 2), along(torch.tensor([[3, 4]]), 0, 2)
    (tensor([3, 4]), None)
    """
    if any(varies(labels, other) for other in range(labels.dim()) if other != dim % labels.dim()):
        return None
    return labels.flatten().expand(size)


def spread(units: Tensor, dim: int, rank: int) -> Tensor:
    """Labels of a tensor of `rank` dimensions whose units lie along one of them."""
    return units.view([-1 if other == dim % rank else 1 for other in range(rank)])


def meet(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two labels, broadcast to equal rank and shape as for elementwise functions."""
    rank = max(one.dim(), other.dim())
    shaped = (labels.view([1] * (rank - labels.dim()) + list(labels.shape)) for labels in (one, other))
    first, second = torch.broadcast_tensors(*shaped)  # type: ignore[no-untyped-call]
    return first, second


def places(some: Tensor, whole: Tensor) -> Tensor | None:
    """Where each of some labels stands in the whole: the n-th of a unit at the n-th of that unit; None if nowhere.

    >>> places(torch.tensor([7, 5, 7]), torch.tensor([5, 6, 7, 7]))
    tensor([2, 0, 3])
    """
    mine, theirs = some.argsort(stable=True), whole.argsort(stable=True)
    wanted, there = some[mine].contiguous(), whole[theirs].contiguous()
    nth = torch.arange(len(some), device="cpu") - torch.searchsorted(wanted, wanted)
    at = torch.searchsorted(there, wanted) + nth
    if len(some) and (not len(whole) or bool((at >= len(whole)).any()) or not torch.equal(there[at], wanted)):
        return None
    found = torch.empty(len(some), dtype=torch.long, device="cpu")
    found[mine] = theirs[at] if len(some) else mine
    return found
