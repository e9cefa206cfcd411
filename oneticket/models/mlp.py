"""Fully connected networks, LeNet-300-100 among them."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import nn

from oneticket.models.layers import Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs


def mlp(spec: ModelSpec, inputs: Inputs, outputs: int, *, widths: tuple[int, ...] = ()) -> Net:
    """Linear layers `fc1`, `fc2`, ... with ReLU between, of the given or else the spec's widths; the last is the head.

    Weights are Xavier normal and biases 0, as in Frankle and Carbin, arXiv 1803.03635.
    """
    units = [scaled(count, spec.width) for count in widths or spec.widths]
    sizes = [prod(inputs.shape), *units, outputs]
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for place, (before, after) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{place}"] = nn.Linear(before, after)
        if place <= len(units):
            layers[f"relu{place}"] = nn.ReLU()
    return Net(layers, conv="xavier")
