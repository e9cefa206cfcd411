"""What a forward pass costs, counted."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from oneticket.compact.sparse import Sparse
from oneticket.compact.trace_forward import look


def flops(network: nn.Module, example: Tensor) -> int:
    """Multiply-adds of one image's forward pass, in linear, convolution and sparse layers; nothing else is counted.

    A layer takes one for each of its weights at each place that it works on: a dense layer for all weights of its
    shape, pruned or not, a sparse layer for the remaining ones. Training takes up to three times as many.

    >>> import torch
    >>> flops(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 5)), torch.zeros(7, 1, 4, 4))
    112
    """
    total = 0

    def count(_: str, layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear | _ConvNd | Sparse):
            places = args[0] if isinstance(layer, _ConvTransposeNd) else out
            flat = layer.linear if isinstance(layer, Sparse) else isinstance(layer, nn.Linear)
            shape = places.shape[:-1] if flat else (len(places), *places.shape[2:])
            total += math.prod(shape) * layer.weight.numel()

    look(network, example, count)
    return total // len(example)
