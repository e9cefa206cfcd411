"""Plain copies: networks whose weights are parameters, where the user's model computes them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from oneticket.export.agreement import differs, tolerance
from oneticket.export.example import Example, outputs
from oneticket.ground.errors import ModelError, WrongModelError
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A copy with weights that are parameters, the mask by its names, and a note on what changed."""

    network: nn.Module
    mask: Mask
    note: str = ""


def plain(model: nn.Module, mask: Mask, example: Example) -> Plain:
    """A copy of the model in evaluation mode in which every weight is a parameter of its own.

    Weights that `weight_norm`, `spectral_norm`, `torch.nn.utils.prune` and parametrizations compute in evaluation mode
    become parameters; the outputs stay equal, which is checked. The mask may name the computed weight, or the parameter
    that it is computed from, which is then pruned first. Raises PruneError if the mask fits neither, ModelError if the
    model cannot be copied, or computes a different weight each time.

    >>> net = nn.Sequential(prune.identity(nn.Linear(2, 1), "weight"))
    >>> made = plain(net, Mask({"0.weight_orig": torch.tensor([[True, False]])}), torch.ones(1, 2))
    >>> sorted(made.network.state_dict()), made.mask["0.weight"].tolist(), made.note
    (['0.bias', '0.weight'], [[True, False]], 'weights made plain, as they are computed in evaluation: 0.weight')
    """
    network = duplicate(model).eval()
    computed = [(path, name, remove) for path, module in network.named_modules() for name, remove in _computed(module)]
    if not computed:
        return Plain(network=network, mask=mask)
    with torch.no_grad():
        for name, remaining in mask.items():
            parameter = dict(network.named_parameters(remove_duplicate=False)).get(name)
            if parameter is not None and parameter.shape == remaining.shape:
                parameter.masked_fill_(~remaining.to(parameter.device), 0)
    before = outputs(network, example)
    if any(one.isnan().any() for one in before):
        raise ModelError(
            "the masked model computes NaN; under weight_norm every row needs at least one weight that is not zero"
        )
    plain_names: dict[str, str] = {}
    for path, name, remove in computed:
        held = _names(network)
        remove()
        _tidy(network.get_submodule(path))
        plain_name = f"{path}.{name}" if path else name
        plain_names |= dict.fromkeys(held - _names(network) - {plain_name}, plain_name)
    names = listed(set(plain_names.values()))
    if apart := differs(before, outputs(network, example), near=tolerance(network, example)):
        raise WrongModelError(
            f"{names} is computed from other tensors at each call, and as a fixed tensor {apart}; make it a parameter"
        )
    found, dense = _moved(mask, plain_names, network)
    note = f"weights made plain, as they are computed in evaluation: {names}"
    if dense:
        note += f"; {listed(dense)} is not zero where what it is computed from is pruned, and counts as dense"
    return Plain(network=network, mask=found, note=note)


def duplicate(model: nn.Module) -> nn.Module:
    """A deep copy, also of models that hold computed tensors, which torch does not copy.

    Raises ModelError, with the attribute's name, for what cannot be copied at all.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in _held(vars(module)):
            if not tensor.is_leaf:  # computed by a hook before every forward pass, or left from one
                memo[id(tensor)] = tensor.detach().clone()
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception as error:  # any error of copying an attribute of a user's model
        raise ModelError(f"the model cannot be copied: {_culprit(model, memo)}: {error}; take it out first") from error


def _computed(module: nn.Module) -> Iterator[tuple[str, Callable[[], object]]]:
    """The names of a module's computed weights, each with a function that makes it a parameter; the last one first."""
    for hook in reversed(module._forward_pre_hooks.values()):
        for kind, (name, remove) in _HOOKS.items():
            if isinstance(hook, kind):
                weight = getattr(hook, name)
                yield weight, partial(remove, module, weight)
    if parametrize.is_parametrized(module):
        for weight in [*cast(nn.ModuleDict, module.parametrizations)]:
            yield weight, partial(_unparametrize, module, weight)


def _unparametrize(module: nn.Module, weight: str) -> None:
    """Remove a parametrization as torch does, but not from the class, which a copy shares with the user's model."""
    shared = type(module)
    own = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, own)
    parametrize.remove_parametrizations(module, weight, leave_parametrized=True)


def _tidy(module: nn.Module) -> None:
    """Remove the hooks by which torch.nn.utils reads older files; they stay when the weight is plain."""
    for hooks in (module._load_state_dict_pre_hooks, module._state_dict_hooks):
        for key, hook in [*hooks.items()]:
            hook = getattr(hook, "hook", hook)
            if (getattr(hook, "__module__", None) or type(hook).__module__).startswith("torch.nn.utils."):
                del hooks[key]


def _moved(mask: Mask, plain_names: Mapping[str, str], network: nn.Module) -> tuple[Mask, list[str]]:
    """The mask by the plain names, and the weights whose pruned entries are not zero and which lose their mask."""
    parameters = dict(network.named_parameters(remove_duplicate=False))
    found: dict[str, Tensor] = {}
    dense: list[str] = []
    for name, remaining in mask.items():
        plain_name = plain_names.get(name, name)
        if plain_name == name or (weight := parameters[plain_name]).shape != remaining.shape:
            found |= {name: remaining} if plain_name == name else {}
        elif weight.detach()[~remaining.to(weight.device)].count_nonzero():
            dense.append(plain_name)
        else:
            found[plain_name] = remaining
    return Mask(found), dense


def _names(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_parameters(remove_duplicate=False)}


def _held(found: object) -> Iterator[Tensor]:
    """Tensors in an attribute, and in its lists, tuples and mappings; modules are visited on their own."""
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, Mapping | list | tuple):
        for part in found.values() if isinstance(found, Mapping) else found:
            yield from _held(part)


def _culprit(model: nn.Module, memo: Mapping[int, object]) -> str:
    """The first attribute that cannot be copied."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name == "_modules":
                continue
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:  # see above
                return f"{path or 'the model'} ({type(module).__name__}) holds {name}"
    return type(model).__name__


_HOOKS: dict[type, tuple[str, Callable[[nn.Module, str], object]]] = {
    WeightNorm: ("name", remove_weight_norm),
    SpectralNorm: ("name", remove_spectral_norm),
    prune.BasePruningMethod: ("_tensor_name", prune.remove),
}
"""Hooks that compute a weight: the attribute with its name, and the function that makes it a parameter."""
