"""Zeros under an optimizer: where its moments lie, and whether its step leaves zero what is zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from oneticket.ticket.hold import WORDS


def moments(optimizer: Optimizer, parameter: Tensor) -> list[Tensor]:
    """The optimizer's floating-point state of the parameter's shape."""
    if (state := optimizer.state.get(parameter)) is None:
        return []
    flat = [inner for value in state.values() for inner in (value if isinstance(value, list | tuple) else (value,))]
    return [m for m in flat if isinstance(m, Tensor) and m.dim() and m.shape == parameter.shape and m.dtype in WORDS]


def keeps_zeros(optimizer: Optimizer, arguments: tuple[object, ...]) -> bool:
    """Whether a step leaves a weight of +0.0 alone, and its moments, where gradient and moments are zero.

    It does if the optimizer treats every entry by itself, as `ELEMENTWISE` do, and makes 0 - lr * 0 / (0 + eps) of it;
    if its settings are numbers that make no NaN of this and turn no sign; and if nothing else acts within the step: no
    closure and no hooks but those of one guard. Not asked here: in float16 an `eps` of 1e-8 is zero.
    """
    return (
        type(optimizer) in ELEMENTWISE
        and arguments == ((optimizer,), {})
        and len(optimizer._optimizer_step_pre_hooks) == len(optimizer._optimizer_step_post_hooks) == 1
        and not (_global_optimizer_pre_hooks or _global_optimizer_post_hooks)
        and all(map(_tame, optimizer.param_groups))
    )


def exchanged() -> bool:
    """Whether ranks may exchange gradients, which are then written where torch counts no write."""
    return dist.is_available() and dist.is_initialized()


def _tame(group: Mapping[str, Any]) -> bool:
    numbers = [value for value in group.values() if isinstance(value, float)]
    if not all(map(math.isfinite, numbers)) or isinstance(group["lr"], Tensor) or group.get("capturable"):
        return False
    rate, decay, eps = group["lr"], group.get("weight_decay", 0.0), group.get("eps", 1.0)
    return bool(rate > 0 and 0 <= rate * decay <= 1 and eps >= EPS)  # at rate 0 weights would not show a leak


ELEMENTWISE = frozenset({SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta})
"""What other optimizers leave is zeroed after every step, weights and moments."""

EPS = 1e-30
"""The least `eps` that is above zero in every dtype but float16."""
