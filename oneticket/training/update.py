"""One update of the parameters (gradients, clipping, an optimizer step) of one network or of a stack of networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.optim import Optimizer

Clip = Callable[[Sequence[Tensor]], object]


def update(
    parameters: Sequence[Tensor],
    optimizers: Sequence[Optimizer],
    losses: Callable[[], Tensor],
    *,
    scaler: torch.amp.GradScaler,
    safe: AbstractContextManager[object],
    clip: Clip | None = None,
) -> Tensor:
    """Take one optimizer step on the sum of `losses()`; returns the losses, detached.

    `losses` runs the forward pass and returns a scalar, or one loss for each network of a stack. The forward and the
    backward pass run in the context `safe`. `clip` scales the gradients of these parameters in place.

    >>> from contextlib import nullcontext
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> sgd = torch.optim.SGD([weight], lr=0.5)
    >>> scaler = torch.amp.GradScaler("cpu", enabled=False)
    >>> update([weight], [sgd], lambda: weight.square(), scaler=scaler, safe=nullcontext())
    tensor([1., 4.])
    >>> weight.tolist()
    [0.0, 0.0]
    """
    for parameter in parameters:
        parameter.grad = None
    with safe:
        found = losses()
        scaler.scale(found.sum() if found.dim() else found).backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        for each in optimizers:
            scaler.unscale_(each)
        clip(parameters)
    for each in optimizers:
        scaler.step(each)
    scaler.update()
    return found.detach()
