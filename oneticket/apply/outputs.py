"""Where a model's outputs come from: its heads, read off one forward pass, which leaves the model as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.apply.graph import Found, Graph, Hidden
from oneticket.ground.errors import ModelError
from oneticket.ticket.heads import Heads


def traced(model: nn.Module, example: object) -> Heads | None:
    """The heads, by one forward pass on an example; None where the graph does not show them.

    `example` is what the model is called with: a tensor, a tuple of arguments, or a mapping of keyword arguments. The
    model is left as it was: its buffers, modes and gradients, and torch's random numbers. Raises ModelError if the
    forward pass fails.

    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.first, self.hidden, self.second = nn.Linear(4, 2), nn.Linear(3, 4), nn.Linear(4, 5)
    ...     def forward(self, rows):
    ...         rows = self.hidden(rows).relu()
    ...         return {"one": self.first(rows).softmax(1), "two": self.second(rows)}
    >>> traced(Net(), torch.ones(2, 3))
    (('first.weight', 'first.bias'), ('second.weight', 'second.bias'))
    """
    found = looked_at(model, example)
    return found.heads if found is not None else None


def looked_at(model: nn.Module, example: object) -> Found | None:
    """All that a forward pass on an example shows, as `traced`."""
    args, keywords = _call(example)
    with apart(model):
        try:
            output = model(*args, **keywords)
        except Exception as first:
            # What a batch of one is too small for, a norm's training mode, works in evaluation.
            model.eval()
            try:
                output = model(*args, **keywords)
            except Exception:
                raise ModelError(
                    f"{type(model).__name__} fails on the example, which must be what the model takes (a tensor, a "
                    f"tuple of arguments, or a mapping of keyword arguments): {type(first).__name__}: {first}"
                ) from first
        return read(model, output)


def read(model: nn.Module, output: object) -> Found | None:
    """What the graph of an output shows of the model; None if it has none, or one that hides parts of itself."""
    ends = [tensor.grad_fn for tensor in tensors_in(output) if tensor.grad_fn is not None]
    try:
        return Graph(model, ends).found() if ends else None
    except Hidden:
        return None


def tensors_in(output: object, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in an output: in tuples, lists, mappings, dataclasses, and right below other objects."""
    if isinstance(output, Tensor):
        yield output
        return
    if isinstance(output, Mapping):
        parts: Iterable[object] = output.values()
    elif isinstance(output, list | tuple | set):
        parts = output
    elif is_dataclass(output) and not isinstance(output, type):
        parts = [getattr(output, field.name, None) for field in fields(output)]
    elif isinstance(output, nn.Module | type) or depth > DEEP:
        parts = ()
    else:
        parts = [part for part in getattr(output, "__dict__", {}).values() if isinstance(part, Tensor | list | tuple)]
    for part in parts if depth <= DEEP else ():
        yield from tensors_in(part, depth + 1)


def _call(example: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


@contextmanager
def apart(model: nn.Module) -> Iterator[None]:
    """A forward pass that leaves nothing behind: every parameter in the graph, buffers, modes and draws put back."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    values = {id(b): (b, b.clone()) for _, held in buffers for b in held.values() if b is not None}
    frozen = [weight for weight in model.parameters() if not weight.requires_grad and weight.is_floating_point()]
    devices = {weight.device for weight in model.parameters()}
    compiled = any(hasattr(module, "_orig_mod") or module._compiled_call_impl for module in model.modules())
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([d for d in devices if d.type == "cuda"]))
        stack.enter_context(torch.enable_grad())
        if compiled:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for weight in frozen:
            weight.requires_grad_(True)
        try:
            yield
        finally:
            for weight in frozen:
                weight.requires_grad_(False)
            for module, training in modes:
                module.training = training
            for module, held in buffers:
                module._buffers.clear()
                module._buffers.update(held)
            with torch.no_grad():
                for buffer, value in values.values():
                    buffer.copy_(value)


DEEP = 6
"""Levels of nesting that are looked through."""
