"""One forward pass that leaves nothing behind, to see what each layer gets and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Tell = Callable[[str, nn.Module, tuple[Any, ...], Any], None]


def look(model: nn.Module, example: Tensor, tell: Tell) -> None:
    """Run the model in evaluation mode and report (name, module, arguments, output) after each module's call.

    Modes, buffers and torch's random state are restored.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> look(net, torch.zeros(4, 2), lambda name, module, args, out: print(repr(name), tuple(out.shape)))
    '0' (4, 3)
    '1' (4, 3)
    '' (4, 3)
    """
    with untouched(model, example.device), torch.no_grad():
        hooks = [module.register_forward_hook(partial(tell, name)) for name, module in model.named_modules()]
        try:
            model.eval()(example)
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def untouched(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Modes, buffers, gradients and torch's random state are at the end what they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module, name, kept) for module in model.modules() for name, kept in module.named_buffers(recurse=False)]
    values = [kept.clone() for _, _, kept in buffers]
    grads = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _ in grads:
            parameter.grad = None
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for (module, name, kept), value in zip(buffers, values, strict=True):
                module._buffers[name] = kept.copy_(value)
        for module, mode in modes:
            module.training = mode
        for parameter, grad in grads:
            parameter.grad = grad
