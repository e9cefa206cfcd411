"""Torch's optimizers without what only its compiler and its profiler need.

The first optimizer of a process has torch import its compiler (`torch._dynamo`), to keep three methods out of graphs,
which takes half as long as `import torch`. Our trainer compiles networks, never these methods, so it takes them as they
are inside those wrappers: 0.7 s of CPU time less to the first step, and as much again where the compiler's packages are
not there yet. Around every step torch opens a record for its profiler, and SGD asks the same of each parameter again:
of a step of a small network at 1 % density, 266 us, they take 20 us each (medians of 12, in turn).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import unwrap
from itertools import chain
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


def eager(kind: type[Optimizer]) -> Callable[..., Optimizer]:
    """A subclass that steps to the same bits.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> sgd = eager(torch.optim.SGD)([weight], lr=0.5)
    >>> weight.sum().backward()
    >>> sgd.step()
    >>> type(sgd).__name__, weight.tolist()
    ('SGD', [0.5, 0.5])
    """
    if kind not in _LIGHT:
        _LIGHT[kind] = _light(kind)
    return _LIGHT[kind]


def _light(kind: type[Optimizer]) -> type[Optimizer]:
    inner: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    step = torch.no_grad()(unwrap(kind.step))  # as torch's own wrapper: `differentiable` is never asked for
    inner["step"] = _fused(step) if kind is torch.optim.SGD else step
    inner["profile_hook_step"] = staticmethod(_hooked)  # which torch puts around the step
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**about, **inner, "steps_as": kind})


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step between its hooks; recorded only while torch's profiler is on."""
    recorded = Optimizer.profile_hook_step(step)

    @wraps(step)
    def hooked(self: Any, *arguments: Any, **named: Any) -> Any:
        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            return recorded(self, *arguments, **named)
        for before in chain(_global_optimizer_pre_hooks.values(), self._optimizer_step_pre_hooks.values()):
            instead = before(self, (self, *arguments), named)
            if instead is not None:
                (_, *arguments), named = instead
        found = step(self, *arguments, **named)
        for after in chain(self._optimizer_step_post_hooks.values(), _global_optimizer_post_hooks.values()):
            after(self, (self, *arguments), named)
        return found

    return hooked


def _fused(step: Callable[..., Any]) -> Callable[..., Any]:
    """SGD's step, by its fused kernel at once where that is all that it comes to."""

    @wraps(step)
    def fused(self: Any, closure: Callable[[], Any] | None = None) -> Any:
        if closure is not None or getattr(self, "found_inf", None) is not None:
            return step(self, closure)
        given = [[weight for weight in group["params"] if weight.grad is not None] for group in self.param_groups]
        for group, weights in zip(self.param_groups, given, strict=True):
            ours = group["fused"] and group["momentum"] and not isinstance(group["lr"], torch.Tensor)
            if not ours or not all(_plain(self, one, weights[0]) for one in weights):
                return step(self)
        with torch.no_grad():
            for group, weights in zip(self.param_groups, given, strict=True):
                if weights:
                    torch._fused_sgd_(
                        weights,
                        [weight.grad for weight in weights],
                        [self.state[weight]["momentum_buffer"] for weight in weights],
                        **{name: group[name] for name in SETTINGS},
                        is_first_step=False,
                        grad_scale=None,
                        found_inf=None,
                    )
        return None

    return fused


def _plain(optimizer: Any, weight: Any, first: Any) -> bool:
    """Whether a weight may go into one kernel with another: dense, of one kind, with a moment."""
    alike = weight.dtype == first.dtype and weight.device == first.device and not weight.grad.is_sparse
    return alike and optimizer.state[weight].get("momentum_buffer") is not None


SETTINGS = ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")
_LIGHT: dict[type[Optimizer], type[Optimizer]] = {}
