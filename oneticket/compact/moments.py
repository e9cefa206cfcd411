"""An optimizer's parameters and moments, exchanged between a model and the smaller network that trains in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.compact import cut
from oneticket.compact.compact import Compact
from oneticket.compact.orphans import NAME
from oneticket.ground.errors import GuardError

State = dict[str, Any]
States = dict[str, State]


def take_over(optimizer: Optimizer, small: Compact) -> None:
    """Let the optimizer update the network's parameters, with the kept part of their moments.

    The orphans of removed units (`orphans`) are added to the end of its first group.
    """
    if small.network is small.model:
        return
    theirs, mine = dict(small.model.named_parameters()), dict(small.network.named_parameters())
    states = {name: optimizer.state.pop(one) for name, one in theirs.items() if one in optimizer.state}
    _exchange(optimizer, {theirs[name]: mine[name] for name in theirs})
    if NAME in mine:
        group = optimizer.param_groups[0]
        group["params"].append(mine[NAME])
        if "param_names" in group:
            group["param_names"].append(NAME)
    for name, state in _smaller(states, small).items():
        optimizer.state[mine[name]] = state


def give_back(optimizer: Optimizer, small: Compact, theirs: Mapping[str, nn.Parameter]) -> None:
    """Let it step the model's parameters again, `theirs`, with the moments as they are by now; pruned ones are zero."""
    if small.network is small.model:
        return
    mine = dict(small.network.named_parameters())
    states = {name: optimizer.state.pop(one) for name, one in mine.items() if one in optimizer.state}
    if NAME in mine:
        group = optimizer.param_groups[0]
        group["params"] = [one for one in group["params"] if one is not mine[NAME]]
        if "param_names" in group:
            group["param_names"].remove(NAME)
    _exchange(optimizer, {mine[name]: theirs[name] for name in theirs})
    for name, state in _larger(states, small, theirs).items():
        optimizer.state[theirs[name]] = state


def saved(optimizer: Optimizer, small: Compact, state: State) -> State:
    """The optimizer's `state_dict`, which is the network's, as it would be if it stepped the model."""
    names, theirs = _names(optimizer, small), dict(small.model.named_parameters())
    whole = _larger({name: state["state"][at] for at, name in names.items() if at in state["state"]}, small, theirs)
    adopted = {at for at, name in names.items() if name == NAME}
    groups = [
        {**group, "params": [at for at in group["params"] if at not in adopted]} for group in state["param_groups"]
    ]
    for group in groups:
        if "param_names" in group:
            group["param_names"] = [name for name in group["param_names"] if name != NAME]
    rest = {at: one for at, one in state["state"].items() if at not in names}
    return {
        **state,
        "state": rest | {at: whole[name] for at, name in names.items() if name in whole},
        "param_groups": groups,
    }


def loaded(optimizer: Optimizer, small: Compact, state: State) -> State:
    """The opposite of `saved`.

    Raises GuardError where units went whose parameters have had different numbers of steps.
    """
    names = _names(optimizer, small)
    states = {name: state["state"][at] for at, name in names.items() if at in state["state"]}
    groups = [dict(group) for group in state["param_groups"]]
    if (adopted := [at for at, name in names.items() if name == NAME]) and groups:
        if not alike([states.get(name) for name in names.values() if name != NAME]):
            raise GuardError(
                "this state has parameters with different numbers of steps, and the smaller network steps what its "
                "dead units had together; load it before the mask is held"
            )
        groups[0]["params"] = [*groups[0]["params"], *adopted]
        if "param_names" in groups[0]:
            groups[0]["param_names"] = [*groups[0]["param_names"], NAME]
    less = _smaller(states, small)
    rest = {at: one for at, one in state["state"].items() if at not in names}
    return {
        **state,
        "state": rest | {at: less[name] for at, name in names.items() if name in less},
        "param_groups": groups,
    }


def alike(states: Iterable[Mapping[str, Any] | None]) -> bool:
    """Whether these states of parameters have the same entries and the same age, so that some may be joined."""
    found = [state or {} for state in states]
    ages = {
        tuple((key, float(one[key])) for key in sorted(one) if not _shaped(one[key])) for one in map(_values, found)
    }
    return len(ages) <= 1 and len({frozenset(state) for state in found}) <= 1


def _smaller(states: Mapping[str, State], small: Compact) -> States:
    """What is left of the model's states, by the network's names, with that of orphans."""
    theirs, mine = dict(small.model.named_parameters()), dict(small.network.named_parameters())
    found: States = {
        name: {
            key: _laid(small.smaller(name, value), mine[name]) if _moment(value, theirs[name]) else value
            for key, value in state.items()
        }
        for name, state in states.items()
    }
    if NAME not in mine:
        return found
    rest = cut.left_out(small.model, small.whole, small.cuts)
    first: State = next((states[name] for name in rest if states.get(name)), {})
    for key, value in first.items():
        parts = [states[name][key][remains] for name, remains in rest.items()] if _shaped(value) else []
        found.setdefault(NAME, {})[key] = torch.cat(parts) if parts else _copied(value)
    return found


def _larger(states: Mapping[str, State], small: Compact, theirs: Mapping[str, nn.Parameter]) -> States:
    """The network's states in the shapes of the model's, zero where weights are pruned."""
    mine = dict(small.network.named_parameters())
    whole = {
        name: {
            key: small.larger(name, value, theirs[name]) if _moment(value, mine[name]) else value
            for key, value in state.items()
        }
        for name, state in states.items()
        if name != NAME
    }
    begins = 0
    for name, remains in cut.left_out(small.model, small.whole, small.cuts).items() if NAME in states else ():
        count = int(remains.count_nonzero())
        for key, value in states[NAME].items():
            if _shaped(value):
                whole[name][key][remains] = value[begins : begins + count]
        begins += count
    return whole


def _names(optimizer: Optimizer, small: Compact) -> dict[int, str]:
    """The network's parameters by the numbers that the optimizer's `state_dict` gives them."""
    names = {id(one): name for name, one in small.network.named_parameters()}
    stepped = [one for group in optimizer.param_groups for one in group["params"]]
    return {at: names[id(one)] for at, one in enumerate(stepped) if id(one) in names}


def _values(state: Mapping[str, Any]) -> State:
    return {key: value for key, value in state.items() if value is not None}


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
