"""Truth values packed eight to a byte, the first in the lowest bit, padding bits zero."""

from __future__ import annotations

import torch
from torch import Tensor


def size(count: int) -> int:
    """The number of bytes that hold so many truth values."""
    return -(-count // 8)


def to_bytes(values: Tensor) -> Tensor:
    """The bytes of a 1-D bool tensor on the CPU, uint8.

    Eight truth values, read as one whole number, times `_GATHER` have their bits side by side in the highest byte.

    >>> to_bytes(torch.tensor([True, False, True]))
    tensor([5], dtype=torch.uint8)
    """
    if values.numel() % 8 or values.storage_offset() % 8 or not values.is_contiguous():
        padded = values.new_zeros(8 * size(values.numel()))
        padded[: values.numel()] = values
        values = padded
    return (values.view(torch.int64) * _GATHER).view(torch.uint8)[7::8].contiguous()


def from_bytes(packed: Tensor, count: int) -> Tensor:
    """The first `count` truth values, bool 1-D, a new tensor: `to_bytes` undone, by a table of the 256 bytes.

    >>> from_bytes(torch.tensor([5], dtype=torch.uint8), 3)
    tensor([ True, False,  True])
    """
    if len(packed) <= BLOCK:
        return _EIGHTS.index_select(0, packed.int()).view(torch.bool)[:count]
    # By blocks, since an index takes half as much as what it gives.
    found = torch.empty(len(packed), dtype=torch.int64, device="cpu")
    for some, out in zip(torch.split(packed, BLOCK), torch.split(found, BLOCK), strict=True):
        torch.index_select(_EIGHTS, 0, some.int(), out=out)
    return found.view(torch.bool)[:count]


BLOCK = 2**17
"""Bytes that are unpacked at once."""

_GATHER = 0x0102040810204080
_PLACES = torch.arange(8, device="cpu")
_EIGHTS = (torch.arange(256, device="cpu")[:, None] >> _PLACES & 1).bool().view(torch.int64).squeeze(1)
