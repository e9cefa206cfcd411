"""Tensors of a class of their own, as optimizers with 8 bits a value keep: read and zeroed by `copy_` alone."""

from __future__ import annotations

import torch
from torch import Tensor

from oneticket.ground.errors import GuardError
from oneticket.ticket.shards import PLAIN


def packed(tensor: Tensor) -> bool:
    """Whether the tensor's class keeps its values in a form of its own, and answers for every operation itself."""
    return type(tensor) not in PLAIN and type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__


def values(tensor: Tensor) -> Tensor:
    """The tensor's values as a plain tensor; a plain one is its own. Raises GuardError if its class has none."""
    if not packed(tensor):
        return tensor
    with torch.no_grad():
        plain = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        try:
            return plain.copy_(tensor)
        except (NotImplementedError, TypeError) as error:
            raise GuardError(
                f"{type(tensor).__name__} cannot be read, so zeros in it cannot be held: {error}"
            ) from None


def clear(tensor: Tensor, keep: Tensor) -> None:
    """Set entries to zero where `keep` is 0; entries that are zero already are neither written nor rounded again.

    Raises GuardError if the class cannot hold zeros there.
    """
    remaining = keep.to(tensor.device) != 0
    if not (found := values(tensor))[~remaining].any():
        return
    with torch.no_grad():
        tensor.copy_(torch.where(remaining, found, 0))
    if values(tensor)[~remaining].any():
        raise GuardError(_words(tensor))


def check(tensor: Tensor) -> None:
    """Raise GuardError if the class cannot hold zeros; values stay what they are, up to being rounded again."""
    if not packed(tensor):
        return
    found = values(tensor)
    with torch.no_grad():
        tensor.copy_(torch.zeros_like(found))
        kept = values(tensor).any()
        tensor.copy_(found)
    if kept:
        raise GuardError(_words(tensor))


def _words(tensor: Tensor) -> str:
    return (
        f"the optimizer keeps moments as {type(tensor).__name__}, which cannot hold zero, so those of pruned weights "
        "would not be zero; use a form of the optimizer that can, with 8 bits or plain"
    )
