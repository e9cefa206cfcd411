"""Torch's optimizers without what only torch.compile needs, whose import takes half as long as `import torch`.

The first optimizer of a process has torch import its compiler (`torch._dynamo`), to keep three methods out of graphs.
Our trainer compiles networks, never these methods, so it takes them as they are inside those wrappers. Measured: 0.7 s
of CPU time to the first step, and as much again where the compiler's packages are not there yet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer


def eager(kind: type[Optimizer]) -> Callable[..., Optimizer]:
    """A subclass that steps to the same bits; the class itself where torch's compiler is there already.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> sgd = eager(torch.optim.SGD)([weight], lr=0.5)
    >>> weight.sum().backward()
    >>> sgd.step()
    >>> type(sgd).__name__, weight.tolist()
    ('SGD', [0.5, 0.5])
    """
    if "torch._dynamo" in sys.modules:
        return kind
    if kind not in _LIGHT:
        _LIGHT[kind] = _light(kind)
    return _LIGHT[kind]


def _light(kind: type[Optimizer]) -> type[Optimizer]:
    inner: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    step = torch.no_grad()(unwrap(kind.step))  # as torch's own wrapper: `differentiable` is never asked for
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**about, **inner, "step": step, "steps_as": kind})


_LIGHT: dict[type[Optimizer], type[Optimizer]] = {}
