"""Watches the first forward pass of the user's own loop, to see where the model's outputs come from."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from oneticket.apply.graph import Found
from oneticket.apply.outputs import apart, read, tensors_in


class Watch:
    """Watches the first forward pass of the user's own loop and reads its graph only.

    `then` is called with what was found after the first pass through the model that leaves a graph. If a loop calls
    parts of the model one by one (as Lightning does), `then` is called when `settle` is called. `inner` is the model
    without wrappers; names are its names. A copy of the model is not watched.

    If `thorough`, further passes are watched until a gradient has reached every trainable parameter, since tasks may
    take turns and evaluation may use fewer outputs; `then` is called after each with the result of all passes. If a
    compiled pass hides its graph, the inner model makes an extra pass with the same inputs.
    """

    def __init__(
        self, model: nn.Module, inner: nn.Module, then: Callable[[Found], None], *, thorough: bool = False
    ) -> None:
        # The model's hooks refer to this; a weak reference back leaves no cycle.
        self._inner, self._then, self._thorough = weakref.ref(inner), then, thorough
        self._within = False
        self._parts: list[Found] = []
        self._seen: list[Found] = []
        self._handles: list[RemovableHandle] = []
        for root in {id(each): each for each in (model, inner)}.values():
            self._handles.append(root.register_forward_pre_hook(_Hook(self._enter)))
            self._handles.append(root.register_forward_hook(_Hook(self._whole), with_kwargs=True))
        parts = [*_called(inner)]
        self._most = max(PARTS, 4 * len(parts))  # a few rounds of all
        for part in parts:
            self._handles.append(part.register_forward_hook(_Hook(self._part), with_kwargs=True))

    def settle(self) -> None:
        """Report what the parts showed, if nothing was reported yet; a tensor that feeds another part is no output."""
        parts, self._parts = self._parts, []
        if self._handles and parts and not self._seen:
            self.remove()
            self._then(Found.joined(parts))

    def remove(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _enter(self, *_: object) -> None:
        self._within = True

    def _whole(self, called: nn.Module, args: Any, keywords: Any, output: object) -> None:
        self._within = False
        if (found := self._read(called, args, keywords, output)) is not None:
            self._seen.append(found)
            shown = Found.joined(self._seen)
            if not self._thorough or len(self._seen) == PASSES or self._all_reached(shown):
                self.remove()
            self._then(shown)

    def _all_reached(self, found: Found) -> bool:
        inner = self._inner()
        return inner is None or all(name in found.reached for name, _ in inner.named_parameters())

    def _part(self, part: nn.Module, args: Any, keywords: Any, output: object) -> None:
        if not self._within and len(self._parts) < self._most:
            found = self._read(part, args, keywords, output)
            self._parts += [found] if found is not None else []

    def _read(self, called: nn.Module, args: Any, keywords: Any, output: object) -> Found | None:
        inner = self._inner()
        if inner is None or not self._handles:
            return None
        found = read(inner, output)
        hidden = found is None and any(tensor.grad_fn is not None for tensor in tensors_in(output))
        return self._again(inner, called, args, keywords) if hidden and self._thorough else found

    def _again(self, inner: nn.Module, called: nn.Module, args: Any, keywords: Any) -> Found | None:
        handles, self._handles = self._handles, []  # this pass is not to be looked at
        try:
            with apart(called):
                return read(inner, called(*args, **keywords))
        except Exception:
            return None
        finally:
            self._handles = handles


class _Hook:
    """A hook that a compiler leaves out and that copies of its module do not have."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if not torch.compiler.is_compiling():
            self._call(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, (_nothing,)


def _nothing(*_: object) -> None:
    """A hook of a copy."""


def _called(model: nn.Module) -> Iterator[nn.Module]:
    """Its direct parts; those of a mere list or dict in its place."""
    for part in model.children():
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            yield from _called(part)
        else:
            yield part


PARTS = 64
"""Calls of parts that are kept in mind, more if there are more parts."""

PASSES = 64
"""Passes through the model that are looked at."""
