"""Zeros under an optimizer: where its moments lie, and whether its step leaves zero what is zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import LBFGS, SGD, Adadelta, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from oneticket.guard.parameter_guard import eager
from oneticket.guard.zero import WORDS
from oneticket.ticket.shards import sharded


def moments(optimizer: Optimizer, parameter: Tensor) -> list[Tensor]:
    """The optimizer's floating-point state of the parameter's shape.

    Shape is all there is to go by: the preconditioners that Shampoo or SOAP keep for a square layer are of its shape
    too, and are zeroed as moments are.
    """
    if not (state := optimizer.state.get(parameter)):
        return []
    shape = parameter.shape
    return [m for m in _tensors(state) if m.shape == shape and m.dim() and m.dtype in WORDS]


def flat(optimizer: Optimizer, parameter: Tensor) -> list[Tensor]:
    """The parameter's parts, in its shape, of the state that LBFGS keeps for all parameters in one."""
    if not isinstance(optimizer, LBFGS) or sharded(parameter):
        return []
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    sizes = [one.numel() * (2 if one.is_complex() else 1) for one in parameters]
    at = next((sum(sizes[:i]) for i, one in enumerate(parameters) if one is parameter), None)
    state = optimizer.state.get(parameters[0])
    if at is None or state is None:
        return []
    whole = [m for m in _tensors(state) if m.shape == (sum(sizes),)]
    return [m[at : at + parameter.numel()].view_as(parameter) for m in whole]


def keeps_zeros(optimizer: Optimizer, before: tuple[int, ...]) -> bool:
    """Whether a step leaves a weight of +0.0 alone, and its moments, where gradient and moments are zero.

    It does if the optimizer treats every entry by itself, as `ELEMENTWISE` do, and makes 0 - lr * 0 / (0 + eps) of it;
    if its settings are numbers that make no NaN of this and turn no sign; and if nothing else acts within the step: no
    hooks but those of one guard, and `before` the step no others. Not asked here: whether the step had a closure; in
    float16 an `eps` of 1e-8 is zero.
    """
    return (
        kind(optimizer) in ELEMENTWISE
        and before == (*optimizer._optimizer_step_pre_hooks,)
        and [*map(acting, step_hooks(optimizer))] == [1, 1, 0, 0]
        and all(map(_tame, optimizer.param_groups))
    )


def kind(optimizer: Optimizer) -> type[Optimizer]:
    """The class whose steps it makes: its own, or the one that a subclass of ours names as `steps_as`."""
    own = type(optimizer)
    named: type[Optimizer] = own.__dict__.get("steps_as", own)
    return named


def step_hooks(optimizer: Optimizer) -> tuple[Mapping[int, Callable[..., Any]], ...]:
    """All that acts around its step: its own hooks before and after, and those of every optimizer."""
    return (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
    )


def watching(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook of an optimizer's step, marked as one that writes nothing, and kept out of graphs."""
    marked = eager(hook)
    marked.writes_nothing = True  # type: ignore[attr-defined]
    return marked


def acting(hooks: Mapping[int, Callable[..., Any]]) -> int:
    """How many of these hooks may write; those from `watching` do not.

    >>> acting({0: print, 1: watching(print)})
    1
    """
    return sum(not getattr(hook, "writes_nothing", False) for hook in hooks.values()) if hooks else 0


def captured() -> bool:
    """Whether the work is recorded to run later, when no check of writes can be made."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]


def _tensors(state: Mapping[str, Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in state.values():
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [inner for inner in value if isinstance(inner, Tensor)]
    return found


def _tame(group: Mapping[str, Any]) -> bool:
    numbers = [value for value in group.values() if isinstance(value, float)]
    if not all(map(math.isfinite, numbers)) or isinstance(group["lr"], Tensor) or group.get("capturable"):
        return False
    rate, decay, eps = group["lr"], group.get("weight_decay", 0.0), group.get("eps", 1.0)
    return bool(rate > 0 and 0 <= rate * decay <= 1 and eps >= EPS)  # at rate 0 weights would not show a leak


ELEMENTWISE = frozenset({SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta})
"""What other optimizers leave is zeroed after every step, weights and moments."""

RANKS = dist.distributed_c10d if dist.is_available() else SimpleNamespace(_world=SimpleNamespace(default_pg=None))
"""Where torch keeps the default process group. `dist.is_initialized`, in every step, takes four calls to ask for it."""

EPS = 1e-30
"""The least `eps` that is above zero in every dtype but float16."""
