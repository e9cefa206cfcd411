"""Agreement: whether two networks compute the same, except for the rounding of their dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

SUMMED, ROUNDED = 80, 16
"""How many rounding steps of a dtype two outputs may differ by.

Float32 and float64 are summed in their own precision, so the order of a long sum shows: 80 steps of float32 are 1e-5.
Narrower ones are summed in float32 and rounded once a layer.
"""


def allowed(dtype: torch.dtype) -> float:
    """How far outputs of a dtype may differ, relative to the larger of the largest output and 1; 0 for exact dtypes.

    >>> f"{allowed(torch.float32):.2g}, {allowed(torch.float16):.2g}, {allowed(torch.int64):.2g}"
    '9.5e-06, 0.016, 0'
    """
    if not (dtype.is_floating_point or dtype.is_complex):
        return 0.0
    about = torch.finfo(dtype)
    return about.eps * (SUMMED if about.bits >= 32 else ROUNDED)


def tolerance(network: nn.Module, example: object) -> float:
    """How far outputs of a network may differ: `allowed` of the coarsest dtype among its tensors and the example's.

    >>> round(tolerance(nn.Linear(2, 2).half(), torch.zeros(1, 2)), 4)
    0.0156
    """
    given = (one for one in pytree.tree_leaves(example) if isinstance(one, Tensor))
    return max(allowed(one.dtype) for one in chain(network.parameters(), network.buffers(), given))


def differs(one: Sequence[Tensor], other: Sequence[Tensor], *, near: float = 0.0) -> str:
    """How far outputs differ, in words; empty if by no more than `near` of the largest, or by default `allowed`.

    >>> differs([torch.ones(2)], [torch.ones(2) + 1e-6]), differs([torch.ones(2)], [torch.zeros(2)])
    ('', 'its outputs lie 1 apart, where 9.5e-06 is allowed')
    """
    if [tuple(tensor.shape) for tensor in one] != [tuple(tensor.shape) for tensor in other]:
        return "its outputs have other shapes"
    for first, second in zip(one, other, strict=True):
        bound = max(near, allowed(first.dtype)) if first.is_floating_point() or first.is_complex() else 0.0
        first, second = _wide(first), _wide(second)
        if bool(first.isnan().any() or second.isnan().any()):
            return "its outputs are not numbers (NaN)"
        if not first.numel() or torch.equal(first, second):  # infinite in both is equal
            continue
        apart, limit = float((first - second).abs().max()), bound * max(1.0, float(first.abs().max()))
        if not apart <= limit:  # infinite in one too
            return f"its outputs lie {apart:.2g} apart, where {limit:.2g} is allowed"
    return ""


def tensors_in(found: object) -> tuple[Tensor, ...]:
    """All tensors in a network's output, in order."""
    if isinstance(found, Tensor):
        return (found,)
    parts: Any = found.values() if isinstance(found, Mapping) else found if isinstance(found, list | tuple) else ()
    return tuple(tensor for part in parts for tensor in tensors_in(part))


def _wide(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double().cpu()
