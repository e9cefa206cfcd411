"""Compact training in your own loop: a smaller network trains in the model's place and is written back into it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from oneticket.compact.changes import Changes, plain
from oneticket.compact.compact import Compact, compact, hooked
from oneticket.compact.mirror import Mirrors
from oneticket.compact.moments import alike, give_back, loaded, saved, take_over
from oneticket.compact.settings import Settings
from oneticket.compact.shown import COMPILED, compiled
from oneticket.ground.errors import GuardError
from oneticket.guard.check import named, steppers
from oneticket.guard.guard import attach
from oneticket.guard.optimizer_state import ELEMENTWISE, kind, watching
from oneticket.guard.parameter_guard import eager
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed


class Compacted:
    """Holds a mask as `attach` does, and trains a smaller, faster network instead of the model.

    - `network`: what the loop calls instead of the model; its parameters have the model's names. Units that cannot
      reach the loss are removed. Layers that are faster as sparse ones hold their remaining weights only.
    - `compact`: which layers are sparse, which units were removed; `str` gives one line. `guard`: holds the network's
      mask.

    The model stays the loop's. Its tensors keep their names, shapes and addresses, and show what is trained: values,
    and gradients by `.grad`, zero where weights are pruned. They may be clipped, averaged, put into the loss, saved,
    copied, loaded, written or stepped by a further optimizer, all together or one by one, and the network follows; the
    model itself can be called and trained, at its full cost, and `backward(inputs=...)` and `torch.autograd.grad` may
    name its parameters. Modes and settings of its modules, as a dropout rate, are the network's too. Clipping by
    `network.parameters()` is faster, with the same result. Views and `detach()` of the model's tensors are current
    until the next step. After writing into their memory by NumPy, call `renew`.

    The optimizer stays the loop's, with its groups and schedulers: its parameters and moments are the network's until
    the block ends, then the model's again, with pruned moments at zero. Its `state_dict` is always that of the model,
    so a checkpoint can be loaded with and without a smaller network. Gradients from before the block are taken along;
    after it the model has none, and the network can only be evaluated.

    Training equals training under `attach`, to rounding; BatchNorm statistics of removed units do not change. Supported
    optimizers update every entry by itself: torch's SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad and Adadelta. With
    several parameter groups no unit is removed, since the rest of a removed unit is kept with one set of settings.

    `example`: inputs as in the loop, a whole batch, since its size decides which layers are sparse; the values do not
    matter. `rule`: as in `attach`, for layers that stay masked.

    Raises GuardError, with nothing changed, for an unsupported optimizer; for a model in `torch.compile` or in a
    wrapper for several devices, or in another block; for a model that has to be kept whole (hooks, parametrizations,
    tensors of other classes, code whose outputs differ), with the reason; and as `attach` does. What the network cannot
    follow is a GuardError at once or at the next step: conversion to another dtype or device, replaced modules and
    tensors, new hooks, `requires_grad` changed, a parameter of the model added to the optimizer, `torch.compile` of
    either, and DistributedDataParallel of the model, which is to wrap `network`. Second derivatives, as a penalty on
    gradients needs them, are a RuntimeError: sparse layers have none.

    >>> import torch
    >>> model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), torch.ones(8, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> with Compacted(model, optimizer, {"2.weight": torch.tensor([[True, False, True]])}, example=x) as small:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         small.network(x).square().mean().backward()
    ...         optimizer.step()
    ...     print(small, small.network[0].out_features)
    1 unit removed 2
    >>> model[0].out_features, model[2].weight[0, 1].item(), optimizer.state[model[2].weight]["momentum_buffer"].shape
    (3, 0.0, torch.Size([1, 3]))
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        mask: Mapping[str, Tensor],
        *,
        example: Tensor,
        rule: str = "gate+project",
    ) -> None:
        self.model, self._optimizers = model, steppers(optimizer)
        check(model, self._optimizers)
        self._held = named(model, mask if isinstance(mask, Mask) else Mask(mask))
        self.compact = _smaller(model, self._optimizers, self._held, example)
        self.network = self.compact.network
        attach(model, optimizer, self._held, rule=rule).detach()  # it refuses what no loop can hold
        self._mirrors = None if self.network is model else self._begin()
        self.guard = attach(self.network, optimizer, self.compact.mask, rule=rule)
        self._open = True

    def restore(self) -> None:
        """Write what was trained so far into the model's memory, for who reads that past torch."""
        if self._open and self._mirrors is not None:
            self._mirrors.show()

    def renew(self) -> None:
        """Take what stands in the model's memory into the network, after it was written past torch, as by NumPy."""
        if self._open and self._mirrors is not None:
            self._mirrors.take()

    def audit(self) -> None:
        """Check that the mask was held, in the network and in the model; raises GuardError with every violation."""
        self.guard.audit()
        found = {name: self.model.get_parameter(name).detach() for name in self._held}
        if wrong := [name for name, value in found.items() if (value.cpu()[~self._held[name]] != 0).any()]:
            raise GuardError(f"the mask does not hold: {listed(wrong)}: pruned weights that are not zero")

    def close(self) -> None:
        """Write into the model what was trained, and give the optimizer back to it; a second call does nothing."""
        was, self._open = self._open, False
        self.guard.detach()
        if not was or self._mirrors is None:
            return
        for handle in self._handles:
            handle.remove()
        _OPEN.difference_update(self._modules)
        try:
            self._settings.give_back()
            self._mirrors.settle()
        finally:
            self._mirrors.show()
            self._mirrors.release()
            for one in self._optimizers:
                give_back(one, self.compact, self._mirrors.parameters)

    def _begin(self) -> Mirrors:
        """Let the network be trained in the model's place."""
        before = {name: one.grad for name, one in self.model.named_parameters() if one.grad is not None}
        self.model.zero_grad()
        for one in self._optimizers:
            take_over(one, self.compact)
        mirrors = self._mirrors = Mirrors(self.compact)
        for pair in mirrors.pairs:
            if pair.name in before:
                pair.set_grad(before[pair.name])
        self._changes = Changes(mirrors)
        self.network.register_forward_pre_hook(_Hook(self._called))
        self._handles: list[RemovableHandle | _Passed] = [
            self.network.register_forward_hook(_Hook(lambda: mirrors.tick(step=False)), always_call=True),
            register_optimizer_step_post_hook(watching(self._stepped)),
            *(handle for one in self._optimizers for handle in _translate(one, self.compact, self._step)),
            *(
                _Passed(module, self.network.get_submodule(name), method)
                for name, module in self.model.named_modules()
                for method in ("train", "zero_grad")  # `eval` calls `train`
            ),
        ]
        self._settings = Settings(self.model, self.network)
        self._modules = [*self.model.modules(), *self.network.modules()]
        _OPEN.update(self._modules)
        return mirrors

    def _called(self) -> None:
        """A batch is about to go through the network."""
        if compiled():
            raise GuardError(COMPILED)
        if not self._open:
            if torch.is_grad_enabled():
                raise GuardError(
                    "the smaller network was closed, and what it trains now would be lost: its weights are in the "
                    f"{type(self.model).__name__}; call that, or evaluate under torch.no_grad()"
                )
            return
        assert self._mirrors is not None
        self._mirrors.settle()
        self._settings.pass_on()
        self._mirrors.tick(step=False)

    def _step(self, optimizer: Optimizer) -> None:
        """The optimizer is about to step."""
        assert self._mirrors is not None
        self._mirrors.settle()
        self._changes.check(optimizer)

    def _stepped(self, *_: object) -> None:
        assert self._mirrors is not None
        self._mirrors.tick(step=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return str(self.compact) or "as it stands, masked"

    def __repr__(self) -> str:
        return f"Compacted({self._held!r}, {self})"


def check(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Raise GuardError for a model that no smaller network can replace, whatever the mask."""
    if any(type(module).__name__ in WRAPPERS for module in model.modules()):
        raise GuardError(
            f"{type(model).__name__}: a network in a wrapper ({listed(sorted(WRAPPERS))}) cannot be made smaller; "
            "hand over the one inside, or use attach"
        )
    for one in optimizers:
        if kind(one) not in ELEMENTWISE:
            kinds = listed([each.__name__ for each in ELEMENTWISE], most=len(ELEMENTWISE))
            raise GuardError(
                f"{type(one).__name__}: a smaller network trains as the masked one only under optimizers that "
                f"update every entry by itself, which is known of torch's {kinds}; use attach"
            )
    if any(module in _OPEN for module in model.modules()):
        raise GuardError(
            f"{type(model).__name__}: a smaller network trains in its place already; leave that block first"
        )
    if found := plain(model):
        raise GuardError(
            f"{type(model).__name__} cannot be made smaller: {found}, not an ordinary parameter; use attach"
        )
    if found := hooked(model):
        raise GuardError(
            f"{type(model).__name__} cannot be made smaller: {found} has hooks or parametrizations; use attach"
        )


def _smaller(model: nn.Module, optimizers: Sequence[Optimizer], mask: Mask, example: Tensor) -> Compact:
    """The smaller network; it keeps all units unless one group, at one step count, trains all parameters."""
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    groups = [{id(one) for one in group["params"]} for optimizer in optimizers for group in optimizer.param_groups]
    same = alike(optimizers[0].state.get(one) for one in model.parameters() if one.requires_grad)
    small = compact(model, mask, example=example, units=len(groups) == 1 and trained <= groups[0] and same)
    if small.note.startswith("kept whole"):
        raise GuardError(f"{type(model).__name__} cannot be made smaller, {small.note}; use attach")
    return small


def _translate(optimizer: Optimizer, small: Compact, step: Callable[[Optimizer], None]) -> list[RemovableHandle]:
    """Let the optimizer save and load as if it stepped the model; refuse a step that the network does not follow."""
    return [
        optimizer.register_state_dict_post_hook(lambda one, state: saved(one, small, state)),
        optimizer.register_load_state_dict_pre_hook(lambda one, state: loaded(one, small, state)),
        optimizer.register_step_pre_hook(watching(lambda one, *_: step(one))),
    ]


class _Hook:
    """A hook of the network that copies of it do not have; kept out of graphs."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = eager(call)

    def __call__(self, *_: object) -> None:
        self._call()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, (_nothing,)


class _Passed:
    """A method of a module that is called on its counterpart too; copies of the module have their class's."""

    def __init__(self, module: nn.Module, counterpart: nn.Module, name: str) -> None:
        self._module, self._counterpart, self._name = module, counterpart, name
        vars(module)[name] = self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        given = getattr(type(self._module), self._name)(self._module, *arguments, **named)
        getattr(self._counterpart, self._name)(*arguments, **named)
        return given

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._module, self._name)

    def remove(self) -> None:
        """Restore the method of the module's class."""
        vars(self._module).pop(self._name, None)


def _nothing() -> None:
    """A hook of a copy."""


WRAPPERS = frozenset({"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "OptimizedModule"})
"""Classes around a network that would go on computing the network they know."""

_OPEN: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Modules of models, and of the smaller networks in their places."""
