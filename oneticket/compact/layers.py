"""Layers whose tensors can be cut, and what they do with units. All others are looked into, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.compact.follow import Following
from oneticket.compact.labels import spread, varies
from oneticket.compact.ledger import Noise
from oneticket.compact.wide import Wide, order

LayerRule = Callable[[Following, str, Any, Tensor, Tensor], "Tensor | None"]
"""What becomes of units in a layer, by its name, from its input and output: the labels of the latter."""


def layer_rule(layer: nn.Module) -> LayerRule | None:
    """What a layer does with units; None if it is to be looked into."""
    return None if "forward" in vars(layer) else _LAYERS.get(type(layer))


def _mixing(units: Following, name: str, layer: Any, x: Tensor, out: Tensor) -> Tensor | None:
    """A layer whose weight is (outputs, inputs / groups, ...)."""
    flat = isinstance(layer, nn.Linear)
    dim = -1 if flat else x.dim() - layer.weight.dim() + 1  # images may come without a batch
    inputs = units.columns(x, dim, "several units lie in one of its inputs")
    if flat and x.dim() != 2:
        units.mixed(inputs)
    if not flat and units.ledger.carries(name, layer.groups > 1):
        made = units.ledger.carrier(name, inputs, layer.groups, out.shape[dim], fresh=True)
        units.mixed(inputs, made)
    else:
        made = units.ledger.layer(name, inputs, out.shape[dim])
    return spread(made, dim, out.dim())


def _carrying(units: Following, name: str, layer: Any, x: Tensor, out: Tensor) -> Tensor | None:
    """A layer that treats each unit, or group of units, by itself; its tensors have a number for each."""
    if x.dim() < 2:
        units.hold(units.of(x), "it got no batch")
        return None
    inputs = units.columns(x, 1, "several units lie in one of its channels")
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        units.followed(x, name)
    groups = getattr(layer, "num_groups", len(inputs))
    return spread(units.ledger.carrier(name, inputs, groups, len(inputs), fresh=False), 1, out.dim())


def _slope(units: Following, name: str, layer: Any, x: Tensor, out: Tensor) -> Tensor | None:
    """PReLU: one slope for all, or one for each unit."""
    each = units.ledger.carries(name, layer.num_parameters > 1)
    return _carrying(units, name, layer, x, out) if each else units.of(x)


def _noise(units: Following, name: str, layer: Any, x: Tensor, _: Tensor) -> Tensor | None:
    """Nothing in evaluation; in training random numbers for all units, which `Wide` draws for removed ones too."""
    labels = units.of(x)
    if not layer.training:
        return labels
    if labels is None:  # where the layer draws for units too, `Wide` would draw for these numbers as well
        units.ledger.noise(name, Noise(units=torch.empty(0, dtype=torch.long, device="cpu"), dim=0, order=()))
        return None
    units.mixed(labels)
    dims = [dim for dim in range(labels.dim()) if varies(labels, dim)]
    if len(dims) != 1 or any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape, strict=True)):
        units.hold(labels, "it draws random numbers for units that do not lie along one dimension")
        return labels
    units.ledger.noise(name, Noise(units=labels.flatten(), dim=dims[0], order=order(x)))
    return labels


_LAYERS: dict[type[nn.Module], LayerRule] = {
    **dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d), _mixing),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm), _carrying),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout), _noise),
    **dict.fromkeys((nn.FeatureAlphaDropout, Wide), _noise),
    nn.PReLU: _slope,
}
