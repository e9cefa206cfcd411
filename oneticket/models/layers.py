"""What our networks are made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@final
class Net(nn.Sequential):
    """Named layers in a row, the last of which is the output layer; `conv` says how `initialise` draws convolutions."""

    def __init__(self, layers: Mapping[str, nn.Module], *, conv: Literal["xavier", "kaiming"] = "xavier") -> None:
        super().__init__(OrderedDict(layers))
        self.conv = conv

    @property
    def head_name(self) -> str:
        """The name of the output layer."""
        return next(reversed(self._modules))


@final
class Halve(nn.Module):
    """Max-pooling of 2x2, left out once the map is a single row or column, so that every image size fits."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W) to (N, C, H // 2, W // 2)."""
        return F.max_pool2d(x, 2) if min(x.shape[-2:]) > 1 else x


def scaled(count: int, width: float) -> int:
    """`count` channels or units times the width factor, rounded, at least 1.

    >>> scaled(64, 0.5), scaled(3, 0.1)
    (32, 1)
    """
    return max(1, round(count * width))


EMBEDDED = 0.3
"""Standard deviation of the numbers that stand for a token or a place."""


def _make_room(layer: nn.Module) -> None:
    """Give a layer that was laid out without values memory on the CPU, for values that are not set yet.

    As `Module.to_empty`, for which torch imports its symbolic shapes: 0.3 s.
    """
    for name, weight in layer._parameters.items():
        if weight is not None:
            layer._parameters[name] = nn.Parameter(
                torch.empty(weight.shape, dtype=weight.dtype, device="cpu"), weight.requires_grad
            )
    for name, buffer in layer._buffers.items():
        if buffer is not None:
            layer._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")


def initialise(net: Net) -> Net:
    """Give every layer fresh values on the CPU, drawn from torch's generator, and return the net.

    Linear: Xavier normal, std = sqrt(2 / (fan_in + fan_out)). Convolution: the same, or Kaiming normal,
    std = sqrt(2 / fan_out). Biases are 0. BatchNorm and LayerNorm have scale 1 and shift 0. Embedding: normal,
    std = EMBEDDED, 0 for a token that pads. Layers draw in their order and the head comes last, so the same seed gives
    the same body for any number of outputs.
    """
    for layer in net.modules():
        _make_room(layer)
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
            layer.reset_parameters()
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=EMBEDDED)
            if layer.padding_idx is not None:
                with torch.no_grad():
                    layer.weight[layer.padding_idx] = 0
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            if net.conv == "kaiming" and isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net
