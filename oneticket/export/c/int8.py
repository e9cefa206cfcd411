"""Weights in 8 bits: the largest weight of each output is 127 steps."""

from __future__ import annotations

from dataclasses import replace

import torch

from oneticket.export.c.layers import Network, Weighted

STEPS = 127


def int8(network: Network) -> Network:
    """The network with every weight rounded to one of 255 steps of its output; biases do not change.

    >>> from oneticket.export.c.layers import Linear
    >>> weight, bias = torch.tensor([[1.0, 0.3], [0.0, 0.0]]), torch.zeros(2)
    >>> layer = Linear(name="", inputs=(0,), output=1, shape=(2,), weight=weight, bias=bias)
    >>> made = int8(Network(layers=(layer,), input=(2,), output=1, shape=(2,)))
    >>> made.layers[0].levels
    tensor([[127,  38],
            [  0,   0]], dtype=torch.int8)
    """
    return replace(network, layers=tuple(_rounded(one) if isinstance(one, Weighted) else one for one in network.layers))


def _rounded(layer: Weighted) -> Weighted:
    largest = (
        layer.weight.flatten(1).abs().amax(1)
        if layer.weight[0].numel()
        else torch.zeros(len(layer.weight), dtype=torch.float32, device="cpu")
    )
    scale = torch.where(largest / STEPS > 0, largest / STEPS, 1.0)  # also where float32 has no such small step
    each = scale.view(-1, *[1] * (layer.weight.dim() - 1))
    levels = (layer.weight / each).round().clamp(-STEPS, STEPS).to(torch.int8)
    return replace(layer, weight=levels * each, levels=levels, scale=scale)
