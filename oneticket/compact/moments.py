"""An optimizer's parameters and moments, exchanged between a model and the smaller network that trains in its place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.compact import cut
from oneticket.compact.compact import Compact
from oneticket.compact.orphans import NAME

State = dict[str, Any]


def take_over(optimizer: Optimizer, small: Compact) -> None:
    """Let it step the network's parameters, with what is left of their moments.

    What units that went still feel (`orphans`) goes to the end of its first group.
    """
    if small.network is small.model:
        return
    theirs, mine = dict(small.model.named_parameters()), dict(small.network.named_parameters())
    states = {name: optimizer.state.pop(one) for name, one in theirs.items() if one in optimizer.state}
    _exchange(optimizer, {theirs[name]: mine[name] for name in theirs})
    for name, state in states.items():
        optimizer.state[mine[name]] = {
            key: _laid(small.smaller(name, value), mine[name]) if _moment(value, theirs[name]) else value
            for key, value in state.items()
        }
    if (adopted := mine.get(NAME)) is None:
        return
    group = optimizer.param_groups[0]
    group["params"].append(adopted)
    if "param_names" in group:
        group["param_names"].append(NAME)
    rest = cut.left_out(small.model, small.whole, small.cuts)
    first: State = next((states[name] for name in rest if states.get(name)), {})
    for key, value in first.items():
        parts = [states[name][key][lives] for name, lives in rest.items()] if _shaped(value) else []
        optimizer.state[adopted][key] = torch.cat(parts) if parts else _copied(value)


def give_back(optimizer: Optimizer, small: Compact) -> None:
    """Let it step the model's parameters again, with the moments as they are by now; pruned ones are zero."""
    if small.network is small.model:
        return
    theirs, mine = dict(small.model.named_parameters()), dict(small.network.named_parameters())
    states = {name: optimizer.state.pop(one) for name, one in mine.items() if one in optimizer.state}
    if NAME in mine:
        group = optimizer.param_groups[0]
        group["params"] = [one for one in group["params"] if one is not mine[NAME]]
        if "param_names" in group:
            group["param_names"].remove(NAME)
    _exchange(optimizer, {mine[name]: theirs[name] for name in theirs})
    whole = {
        name: {
            key: small.larger(name, value, theirs[name]) if _moment(value, mine[name]) else value
            for key, value in state.items()
        }
        for name, state in states.items()
        if name != NAME
    }
    begins = 0
    for name, lives in cut.left_out(small.model, small.whole, small.cuts).items() if NAME in states else ():
        count = int(lives.count_nonzero())
        for key, value in states[NAME].items():
            if _shaped(value):
                whole[name][key][lives] = value[begins : begins + count]
        begins += count
    for name, state in whole.items():
        optimizer.state[theirs[name]] = state


def _exchange(optimizer: Optimizer, to: dict[nn.Parameter, nn.Parameter]) -> None:
    for group in optimizer.param_groups:
        group["params"] = [to.get(one, one) for one in group["params"]]


def _moment(value: object, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape == parameter.shape


def _shaped(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _laid(value: Tensor, like: Tensor) -> Tensor:
    """In memory as the parameter, since fused kernels walk through both at once."""
    return torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)
