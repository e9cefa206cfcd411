"""Cuts: what of each tensor stays, and the copy of a model that is left."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.compact.units import Units

Cuts = Mapping[str, tuple[Tensor, ...]]
"""Name of a parameter or buffer that loses something -> the index that takes what stays out of it."""


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, each once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def cuts(model: nn.Module, found: Units) -> Cuts:
    """What stays of the tensors of layers that lose units.

    >>> from oneticket.compact.units import Kept
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> kept = {"0": Kept(outputs=torch.tensor([0, 2]), inputs=torch.tensor([0, 1]))}
    >>> index = cuts(net, Units(kept=kept))["0.weight"]
    >>> torch.arange(6).view(3, 2)[index]
    tensor([[0, 1],
            [4, 5]])
    """
    made: dict[str, tuple[Tensor, ...]] = {}
    for name, kept in found.kept.items():
        layer = model.get_submodule(name)
        for last, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            if tensor.dim():
                inputs = kept.inputs if tensor.dim() > 1 else None
                made[f"{name}.{last}"] = (kept.outputs,) if inputs is None else (kept.outputs[:, None], inputs)
    return made


def smaller(model: nn.Module, made: Cuts, shared: Collection[str] = ()) -> nn.Module:
    """A copy of the model with its own tensors, less what is cut away; `shared` ones stay the model's if not cut."""
    memo: dict[int, Any] = {}
    for name, tensor in tensors(model).items():
        value = tensor.detach()[made[name]] if name in made else tensor.detach()
        value = value.clone() if name not in made and name not in shared else value
        if _channels_last(tensor):
            value = value.to(memory_format=torch.channels_last)
        memo[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
    network = copy.deepcopy(model, memo)
    for name in made:
        layer: Any = network.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = layer.weight.shape
        elif hasattr(layer, "out_channels"):
            layer.out_channels, layer.in_channels = layer.weight.shape[:2]
        else:
            layer.num_features = tensors(layer)[name.rpartition(".")[2]].shape[0]
    return network


def left_out(model: nn.Module, mask: Mapping[str, Tensor], made: Cuts) -> dict[str, Tensor]:
    """Per trained parameter that loses something, where it loses living weights: bool."""
    rest = {}
    for name, index in made.items():
        tensor = tensors(model)[name]
        if tensor.requires_grad:
            rest[name] = mask[name].clone() if name in mask else torch.ones(tensor.shape, dtype=torch.bool)
            rest[name][index] = False
    return rest


def _channels_last(tensor: Tensor) -> bool:
    """By the strides: torch calls a 1x1 kernel contiguous in both layouts."""
    if tensor.dim() != 4:
        return False
    return tensor.stride() == torch.empty(tensor.shape, device="meta").to(memory_format=torch.channels_last).stride()
