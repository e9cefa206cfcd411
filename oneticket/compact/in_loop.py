"""Compact training in your own loop: a smaller network trains in the model's place and is written back into it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from oneticket.compact.compact import Compact, compact, hooked
from oneticket.compact.moments import alike, give_back, loaded, saved, take_over
from oneticket.ground.errors import GuardError
from oneticket.guard.check import named, steppers
from oneticket.guard.guard import attach
from oneticket.guard.optimizer_state import ELEMENTWISE, watching
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed


class Compacted:
    """Holds a mask as `attach` does, and trains a smaller, faster network instead of the model.

    - `network`: what the loop calls and clips instead of the model; its parameters have the model's names. Units that
      cannot reach the loss are removed. Layers that are faster as sparse ones hold their remaining weights only.
    - `compact`: which layers are sparse, which units were removed; `str` gives one line. `guard`: holds the network's
      mask.

    The model keeps its names, its tensors and their addresses. The trained weights are written into it, with pruned
    ones at exactly zero, by its own `state_dict`, forward pass and `copy.deepcopy`, by `restore`, and at the end of the
    `with` block. What its `load_state_dict` loads is passed on to the network, and so are `train`, `eval` and
    `zero_grad` of the model and its modules. Nothing else is: call `restore` before reading the model's tensors in
    another way (its `parameters`, a module of it), and `renew` after writing them. The optimizer stays the loop's, with
    its groups and schedulers: its parameters and moments are the network's until the block ends, then the model's
    again, with pruned moments at zero. Its `state_dict` is always that of the model, so a checkpoint can be loaded with
    and without a smaller network. Existing gradients of the model are dropped.

    Training equals training under `attach`, to rounding; BatchNorm statistics of removed units do not change. Supported
    optimizers update every entry by itself: torch's SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad and Adadelta. With
    several parameter groups no unit is removed, since the rest of a removed unit is kept with one set of settings.

    `example`: inputs as in the loop, a whole batch, since its size decides which layers are sparse; the values do not
    matter. `rule`: as in `attach`, for layers that stay masked.

    Raises GuardError, with nothing changed, for an unsupported optimizer; for a model in `torch.compile` or in a
    wrapper for several devices; for a model that has to be kept whole (hooks, parametrizations, code whose outputs
    differ), with the reason; and as `attach` does. A step is a GuardError too after a backward pass through the model,
    after `requires_grad` of a parameter changed, and where a parameter of the model was added to the optimizer.

    >>> import torch
    >>> model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), torch.ones(8, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> with Compacted(model, optimizer, {"2.weight": torch.tensor([[True, False, True]])}, example=x) as small:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         small.network(x).square().mean().backward()
    ...         optimizer.step()
    ...     print(small, small.network[0].out_features)
    1 units left out 2
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
        for one in self._optimizers:
            take_over(one, self.compact)
        self.guard = attach(self.network, optimizer, self.compact.mask, rule=rule)
        self._open = True
        self._theirs = {name: (one, one.requires_grad) for name, one in model.named_parameters()}
        self._handles: list[RemovableHandle | _Passed | _Copied] = []
        if self.network is not model:
            model.zero_grad()
            self._handles = [*_follow(self), *(handle for one in self._optimizers for handle in _translate(one, self))]

    def restore(self) -> None:
        """Write what was trained so far into the model."""
        if self._open:
            self.compact.restore()

    def renew(self) -> None:
        """Take what stands in the model now into the network, after it was written past `load_state_dict`."""
        if self._open:
            self.compact.renew()

    def audit(self) -> None:
        """Check that the mask was held, in the network and in the model; raises GuardError with every violation."""
        self.guard.audit()
        self.restore()
        found = {name: self.model.get_parameter(name).detach() for name in self._held}
        if wrong := [name for name, value in found.items() if (value.cpu()[~self._held[name]] != 0).any()]:
            raise GuardError(f"the mask does not hold: {listed(wrong)}: pruned weights that are not zero")

    def check_step(self, optimizer: Optimizer) -> None:
        """Raise GuardError where the model, which no optimizer steps now, has gradients or was changed."""
        kind = type(self.model).__name__
        if any(parameter.grad is not None for parameter, _ in self._theirs.values()):
            raise GuardError(
                f"a backward pass went through {kind} itself, whose parameters are not stepped now; train the smaller "
                "network in its place"
            )
        if changed := [name for name, (parameter, was) in self._theirs.items() if parameter.requires_grad != was]:
            raise GuardError(
                f"{listed(changed)}: requires_grad was changed in {kind}, but the smaller network was made for what "
                "was trained then; close it, and make another"
            )
        stepped = {id(one) for group in optimizer.param_groups for one in group["params"]}  # `owns` goes through all
        if added := [name for name, (parameter, _) in self._theirs.items() if id(parameter) in stepped]:
            raise GuardError(
                f"{listed(added)}: added to the optimizer from {kind}, whose parameters are not stepped now; close "
                "the smaller network, and make another"
            )

    def close(self) -> None:
        """Write into the model what was trained, and give the optimizer back to it; a second call does nothing."""
        self.restore()
        self.guard.detach()
        for handle in self._handles:
            handle.remove()
        if self._open:
            for one in self._optimizers:
                give_back(one, self.compact)
        self._open = False

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
        if type(one) not in ELEMENTWISE:
            kinds = listed(sorted(kind.__name__ for kind in ELEMENTWISE))
            raise GuardError(
                f"{type(one).__name__}: a smaller network trains as the masked one only under optimizers that "
                f"update every entry by itself, which is known of torch's {kinds}; use attach"
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


def _follow(small: Compacted) -> list[RemovableHandle | _Passed | _Copied]:
    """Let the model show the network's trained weights, and pass on what the model loads and its modes."""
    restore, renew = _Hook(small.restore), _Hook(small.renew)
    return [
        small.model.register_state_dict_pre_hook(restore),  # type: ignore[no-untyped-call]
        small.model.register_forward_pre_hook(restore),
        small.model.register_load_state_dict_post_hook(renew),  # type: ignore[no-untyped-call]
        _Copied(small),
        *(
            _Passed(module, small.network.get_submodule(name), method)
            for name, module in small.model.named_modules()
            for method in ("train", "zero_grad")  # `eval` calls `train`
        ),
    ]


def _translate(optimizer: Optimizer, small: Compacted) -> list[RemovableHandle]:
    """Let the optimizer save and load as if it stepped the model; refuse a step after the model's backward pass."""
    return [
        optimizer.register_state_dict_post_hook(lambda one, state: saved(one, small.compact, state)),
        optimizer.register_load_state_dict_pre_hook(lambda one, state: loaded(one, small.compact, state)),
        optimizer.register_step_pre_hook(watching(lambda one, *_: small.check_step(one))),
    ]


class _Hook:
    """A hook of the model that copies of it do not have."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

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


class _Copied:
    """The model's `__deepcopy__`, which restores it first; the copy is an ordinary one, without this."""

    def __init__(self, small: Compacted) -> None:
        self._small = small
        vars(small.model)["__deepcopy__"] = self

    def __call__(self, memo: dict[int, Any]) -> nn.Module:
        self._small.restore()
        self.remove()
        try:
            return copy.deepcopy(self._small.model, memo)
        finally:
            vars(self._small.model)["__deepcopy__"] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()  # None, which a model that was saved whole is to have

    def remove(self) -> None:
        """Remove the method, so that the model is copied as before."""
        vars(self._small.model).pop("__deepcopy__", None)


def _nothing() -> None:
    """A hook of a copy."""


WRAPPERS = frozenset({"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "OptimizedModule"})
"""Classes around a network that would go on computing the network they know."""
