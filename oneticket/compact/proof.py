"""A proof by one step: whether a compact network gives what the masked model gives, where the code is not known.

A forward pass written by a user may ask for a layer's type or size, read weights directly, do something else in
evaluation, or cut the gradient off: what a trace does not show, the outputs and gradients of one batch do.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oneticket.compact.cut import Cuts
from oneticket.compact.trace_forward import untouched
from oneticket.guard.narrow import sliced

NEAR = 1e-3  # of the largest number compared; float32 sums in another order differ by less


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One batch: the outputs in training and in evaluation, and the gradients by the parameters' names."""

    trained: Tensor
    evaluated: Tensor
    grads: Mapping[str, Tensor | None]


def known(model: nn.Module) -> bool:
    """Whether all code of a model is torch's or ours.

    >>> known(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    True
    """
    return all(type(module).__module__.startswith(("torch.nn.", "oneticket.")) for module in model.modules())


def differs(
    model: nn.Module,
    network: nn.Module,
    example: Tensor,
    *,
    cuts: Cuts,
    sparse: Mapping[str, Tensor],
    rest: Mapping[str, Tensor],
) -> str:
    """How the network differs from the model with pruned weights at zero; empty if no difference is found.

    `sparse`: sparse layer -> which weights remain. `rest`: weights of the model that were left out; their gradient must
    be zero. Code that depends on counters of its own is not detected.
    """
    state = _others()
    one, other = _see(model, example), _see(network, example)
    if _others() != state:
        return "it draws from other generators than torch's"
    if not (_near(one.trained, other.trained) and _near(one.evaluated, other.evaluated)):
        return "its outputs differ when it is"
    largest = max(
        (float(grad.abs().max()) for grad in one.grads.values() if grad is not None and grad.numel()), default=0.0
    )
    for name, grad in one.grads.items():
        mine = other.grads[name]
        if (grad is None) != (mine is None) or (grad is None and name in rest):
            return f"no gradient reaches {name}"
        if grad is None or mine is None:
            continue
        theirs = grad[cuts.get(name, ...)]
        theirs = theirs[sparse[name]] if name in sparse else theirs
        lost = grad[rest[name]] if name in rest else grad.new_zeros(1)
        if not _near(theirs, mine, largest) or not _near(lost, torch.zeros_like(lost), largest):
            return f"the gradient of {name} differs when it is"
    return ""


def _see(network: nn.Module, example: Tensor) -> _Seen:
    images = torch.arange(example.numel(), device=example.device).view(example.shape).cos().to(example.dtype)
    with untouched(network, example.device), torch.enable_grad(), sliced(network):
        network.train()
        trained = network(images)
        (trained * torch.arange(trained.numel(), device=trained.device).view(trained.shape).sin()).sum().backward()
        grads = {name: parameter.grad for name, parameter in network.named_parameters()}
    with untouched(network, example.device), torch.no_grad():
        network.eval()
        return _Seen(trained=trained.detach(), evaluated=network(images), grads=grads)


def _others() -> object:
    """Where the generators stand that the trace does not look after."""
    numpy: Any = np.random.get_state()  # noqa: NPY002 - looked at, not drawn from
    return random.getstate(), numpy[1].tobytes(), numpy[2]


def _near(one: Tensor, other: Tensor, largest: float = 0.0) -> bool:
    if one.shape != other.shape:
        return False
    if not one.numel():
        return True
    most = max(float(one.abs().max()), largest)
    return bool((one - other).abs().max() <= NEAR * most)
