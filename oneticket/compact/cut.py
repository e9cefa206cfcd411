"""Cuts: which part of each tensor stays, and the smaller copy of a model."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.compact.wide import Wide


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The units of a layer that stay, as indices of its outputs and, where it mixes its inputs, of those."""

    outputs: Tensor
    inputs: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Thinned:
    """Which places of a dropout layer's dimension `dim` stay, out of how many; `order` as `Wide` has it."""

    kept: Tensor
    count: int
    dim: int
    order: tuple[int, ...]


Cuts = Mapping[str, tuple[Tensor, ...]]
"""Name of a parameter or buffer that loses something -> the index that takes what stays out of it."""


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, each once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def cuts(model: nn.Module, found: Mapping[str, Kept]) -> Cuts:
    """The parts that stay of the tensors of layers that lose units.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> kept = {"0": Kept(outputs=torch.tensor([0, 2]), inputs=torch.tensor([0, 1]))}
    >>> index = cuts(net, kept)["0.weight"]
    >>> torch.arange(6).view(3, 2)[index]
    tensor([[0, 1],
            [4, 5]])
    """
    made: dict[str, tuple[Tensor, ...]] = {}
    for name, kept in found.items():
        layer = model.get_submodule(name)
        for last, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            if tensor.dim():
                inputs = kept.inputs if tensor.dim() > 1 else None
                made[f"{name}.{last}"] = (kept.outputs,) if inputs is None else (kept.outputs[:, None], inputs)
    return made


def smaller(
    model: nn.Module, made: Cuts, shared: Collection[str] = (), thinned: Mapping[str, Thinned] | None = None
) -> nn.Module:
    """A copy of the model with its own tensors, less what is cut away; `shared` ones stay the model's if not cut.

    `thinned`: dropout layers that lose units; they are put into a `Wide`.
    """
    memo: dict[int, Any] = {}
    for name, tensor in tensors(model).items():
        value = tensor.detach()[made[name]] if name in made else tensor.detach()
        value = value.clone() if name not in made and name not in shared else value
        if _channels_last(tensor):
            value = value.to(memory_format=torch.channels_last)
        memo[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
    network = copy.deepcopy(model, memo)
    for owner in {name.rpartition(".")[0] for name in made}:
        _resize(network.get_submodule(owner), model.get_submodule(owner))
    for name, each in (thinned or {}).items():
        layer = network.get_submodule(name)
        wide = Wide(layer, each.kept, count=each.count, dim=each.dim, order=each.order)
        network.set_submodule(name, wide)
    return network


def _resize(layer: Any, before: Any) -> None:
    """Set a layer's number of units."""
    count, whole = (len(next(iter(tensors(each).values()))) for each in (layer, before))
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif hasattr(layer, "out_channels"):
        layer.groups = max(1, before.groups * count // whole)
        layer.out_channels, layer.in_channels = count, layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.GroupNorm):
        layer.num_groups, layer.num_channels = before.num_groups * count // whole, count
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = count
    else:
        layer.num_features = count


def left_out(model: nn.Module, mask: Mapping[str, Tensor], made: Cuts) -> dict[str, Tensor]:
    """Trained parameter that loses weights -> where it loses remaining weights, as bool."""
    rest = {}
    for name, index in made.items():
        tensor = tensors(model)[name]
        if tensor.requires_grad:
            rest[name] = (
                mask[name].clone() if name in mask else torch.ones(tensor.shape, dtype=torch.bool, device="cpu")
            )
            rest[name][index] = False
    return rest


def _channels_last(tensor: Tensor) -> bool:
    """By the strides: torch calls a 1x1 kernel contiguous in both layouts."""
    if tensor.dim() != 4:
        return False
    return tensor.stride() == torch.empty(tensor.shape, device="meta").to(memory_format=torch.channels_last).stride()
