"""Folding: units that no remaining weight enters are constants, which their consumers' biases can absorb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.compact.cut import smaller
from oneticket.compact.labels import NONE
from oneticket.compact.record import Record
from oneticket.compact.units import reaching, walked


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The result of removing constants.

    - `remaining`: which weights remain.
    - `shifts`: tensor -> what is added to it instead.
    - `steady`: BatchNorm layer -> which of its units are constants.
    """

    remaining: Mapping[str, Tensor]
    shifts: Mapping[str, Tensor]
    steady: Mapping[str, Tensor]


def fold(model: nn.Module, remaining: Mapping[str, Tensor], example: Tensor) -> Folded:
    """Remove constant units, round by round: a unit that only constants enter is a constant in the next round.

    A constant's value c is what a forward pass in training mode, on a copy, shows in the middle of the image. A
    consumer with weights w gets sum(w c) added to its bias; one without a bias, but with a BatchNorm behind it, has it
    taken from the running mean, since in training the batch's own mean takes it away. Units that are added to or
    multiplied by others, that reach anything else than layers, and layers of constants alone are left as they are.

    >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> with torch.no_grad():
    ...     for weight in net.parameters():
    ...         _ = weight.fill_(3.0)
    >>> folded = fold(net, {"0.weight": torch.tensor([[True], [False]])}, torch.zeros(4, 1))
    >>> folded.shifts, folded.remaining["2.weight"]
    ({'2.bias': tensor([9.])}, tensor([[ True, False]]))
    """
    walk, remaining, shifts = walked(model, example[:2]), dict(remaining), dict[str, Tensor]()
    if isinstance(walk, str):
        return Folded(remaining=remaining, shifts=shifts, steady={})
    work, roots = smaller(model, {}).train(), walk.roots()
    layers: dict[str, Any] = {name: work.get_submodule(name) for name in walk.layers}
    ever = torch.zeros(len(roots), dtype=torch.bool, device="cpu")
    with torch.no_grad():
        for name, remains in remaining.items():
            work.get_parameter(name).masked_fill_(~remains.to(example.device), 0)
        for name in layers:
            remaining.setdefault(
                f"{name}.weight", torch.ones(layers[name].weight.shape, dtype=torch.bool, device="cpu")
            )
        while (constant := _constant(walk, roots, remaining, layers)).any():
            ever |= constant
            seen = _middles(work, layers, example)
            for name, (into, _) in walk.layers.items():
                left, weight = constant[roots[into]], work.get_parameter(f"{name}.weight")
                if not left.any():
                    continue
                amount = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
                amount = amount[:, left.to(weight.device)] @ seen[name][left.to(weight.device)]
                weight[:, left] = 0
                remaining[f"{name}.weight"] = remaining[f"{name}.weight"].clone()
                remaining[f"{name}.weight"][:, left] = False
                for where, shift in _absorbing(walk, layers, name, amount).items():
                    shifts[where] = shifts.get(where, torch.zeros_like(shift)) + shift
                    if where.endswith(".bias"):
                        work.get_parameter(where).add_(shift)
    steady = {name: ever[roots[carrier.outputs]] for name, carrier in walk.carriers.items()}
    return Folded(remaining=remaining, shifts=shifts, steady=steady)


@torch.no_grad()
def steady(model: nn.Module, given: Folded, example: Tensor) -> None:
    """Set the running means of constants to the values that BatchNorm sees, so that evaluation agrees with training.

    Statistics are not learnt while a unit is left out, and may be those of a time when it was no constant.
    """
    work = smaller(model, {}).train()
    seen = _middles(work, {name: work.get_submodule(name) for name in given.steady}, example)
    for name, still in given.steady.items():
        mean = getattr(model.get_submodule(name), "running_mean", None)
        if mean is not None:
            mean[still] = seen[name][still.to(mean.device)]


def _constant(walk: Record, roots: Tensor, remaining: Mapping[str, Tensor], layers: Mapping[str, Any]) -> Tensor:
    """Whether each root is a constant that is still read and that every reader can absorb: bool."""
    reaches, alone = reaching(walk, roots, remaining), torch.bincount(roots, minlength=len(roots)) == 1
    alone[roots[[NONE, *walk.read, *walk.holds, *walk.mixed]]] = False
    for name, (into, _) in walk.layers.items():
        if not _absorbing(walk, layers, name, torch.zeros((), device="cpu")) and name not in walk.followed:
            alone[roots[into]] = False
    found = torch.zeros_like(alone)
    for name, (_, out) in walk.layers.items():
        entered = remaining[f"{name}.weight"].flatten(1).any(1)
        units = roots[out]
        constant = ~entered & alone[units] & reaches[units]
        if (reaches[units] & ~constant).any():
            found[units] = constant
    return found


def _absorbing(walk: Record, layers: Mapping[str, Any], name: str, amount: Tensor) -> dict[str, Tensor]:
    """The tensor that absorbs the constants removed in front of a layer, with the amount; empty if none can."""
    if layers[name].bias is not None:
        return {f"{name}.bias": amount}
    norm = walk.followed.get(name)
    tracked = norm is not None and getattr(walk.model.get_submodule(norm), "running_mean", None) is not None
    return {f"{norm}.running_mean": -amount} if tracked else {}


def _middles(work: nn.Module, layers: Mapping[str, Any], example: Tensor) -> dict[str, Tensor]:
    """The input of each layer for the first image, in the middle of the map: (inputs,)."""
    seen: dict[str, Tensor] = {}

    def note(name: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        first = args[0][0]
        while first.dim() > 1:
            first = first[:, first.shape[1] // 2]
        seen[name] = first.clone()

    hooks = [layer.register_forward_pre_hook(partial(note, name)) for name, layer in layers.items()]
    cuda = [example.device] if example.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        work(example)
    for hook in hooks:
        hook.remove()
    return seen
