"""Units: which channels and features can reach the loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from oneticket.compact.walk import Walk, shared


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The units of a layer that stay, as indices of its outputs and, where it mixes its inputs, of those."""

    outputs: Tensor
    inputs: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Units:
    """What was found.

    - `kept`: per layer that loses units, of its outputs or its inputs, which stay.
    - `removed`: per layer whose own units go, how many.
    - `bound`: layers whose tensors are shared or used outside them.
    - `note`: why the model could not be traced, and so keeps all units; else empty.
    """

    kept: Mapping[str, Kept] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    bound: frozenset[str] = frozenset()
    note: str = ""


def trace(model: nn.Module, living: Mapping[str, Tensor], example: Tensor) -> Units:
    """Find the units of linear, convolution and BatchNorm layers that can reach the model's output.

    A unit does so through a living weight into a unit that does; weights without a mask live. Tensors that are added or
    multiplied elementwise have their units in common. Whatever is not known (other layers and functions, grouped
    convolutions, all that draws random numbers, layers called twice, tensors used directly) counts as the output.
    Every layer keeps a unit. The graph is that of `torch.fx`, in training mode; two images go through it, on a copy
    that shares the model's parameters alone.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> trace(net, {"2.weight": torch.tensor([[True, False, True]])}, torch.zeros(4, 2)).kept["0"].outputs
    tensor([0, 2])
    """
    walk = walked(model, example)
    if isinstance(walk, str):
        return Units(bound=shared(model), note=f"units not traced, so all are kept: {walk}")
    return _found(walk, living)


def walked(model: nn.Module, example: Tensor) -> Walk | str:
    """The walk through the model, or why it could not be done."""
    cuda = [example.device] if example.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda):
        before = torch.get_rng_state()
        try:
            walk = Walk(_double(model))
            if not torch.equal(before, torch.get_rng_state()):
                return "the forward pass draws random numbers where the graph does not show them"
            walk.run(example[:2])
        except Exception as error:  # any code may stand in a forward pass
            return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return walk


def _double(model: nn.Module) -> nn.Module:
    """A copy in training mode, with the model's own parameters and buffers of its own."""
    return copy.deepcopy(model, {id(weight): weight for weight in model.parameters()}).train()


def _found(walk: Walk, living: Mapping[str, Tensor]) -> Units:
    roots = walk.roots()
    reaches = reaching(walk, roots, living)
    kept, removed = {}, {}
    for name, (inputs, outputs) in walk.layers.items():
        into, out = reaches[roots[inputs]], reaches[roots[outputs]]
        if not (into.all() and out.all()):
            kept[name] = Kept(outputs=out.nonzero().squeeze(1), inputs=into.nonzero().squeeze(1))
        if not out.all():
            removed[name] = len(out) - int(out.sum())
    for name, units in walk.norms.items():
        stay = reaches[roots[units]]
        if not stay.all():
            kept[name] = Kept(outputs=stay.nonzero().squeeze(1))
    return Units(kept=kept, removed=removed, bound=walk.bound)


def reaching(walk: Walk, roots: Tensor, living: Mapping[str, Tensor]) -> Tensor:
    """Whether each root reaches the output: bool, from the output backward until nothing changes."""
    layers = []
    for name, (inputs, outputs) in reversed(walk.layers.items()):
        lives = living.get(f"{name}.weight", torch.ones(len(outputs), len(inputs), dtype=torch.bool))
        layers.append((roots[inputs], roots[outputs], lives.flatten(2).any(2) if lives.dim() > 2 else lives))
    reaches = torch.zeros(len(roots), dtype=torch.bool)
    reaches[roots[walk.reaching]] = True
    while True:
        count = -1
        while count != (count := int(reaches.sum())):
            for into, out, lives in layers:
                reaches[into[lives[reaches[out]].any(0)]] = True
        lost = next((out for _, out, _ in layers if not reaches[out].any()), None)
        if lost is None:
            return reaches
        reaches[lost[0]] = True  # torch does not like a layer of nothing
