"""The steps of one optimizer under a guard: written entries are zeroed, entries without a write are skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain

from torch import nn
from torch.optim import Optimizer

from oneticket.guard.optimizer_state import captured, exchanged, keeps_zeros, moments, step_hooks
from oneticket.guard.parameter_guard import ParameterGuard
from oneticket.guard.steady import Steady
from oneticket.guard.zero import hasten

Held = list[tuple[nn.Parameter, ParameterGuard]]
"""Parameters that are held, each once, with their holds."""


class Stepping:
    """What acts before and after each step of one optimizer, as its hooks.

    `find`: gives every parameter that is held, as the model has them now; it hangs under `names`, more than one if it
    is tied. `gates`: whether gradients are gated. The optimizer's hooks alone keep it, and with it what they step.
    """

    __slots__ = (
        "_asked",
        "_find",
        "_gates",
        "_held",
        "_keeps",
        "_model",
        "_names",
        "_plain",
        "_pre",
        "_steady",
        "_steps",
    )

    def __init__(self, model: nn.Module, names: Collection[str], find: Callable[[], Held], *, gates: bool) -> None:
        self._model, self._names, self._find, self._gates = model, names, find, gates
        self._steady: Steady | None = None
        self._held: Held = []
        self._steps, self._keeps, self._plain = 0, False, False
        self._pre: tuple[int, ...] = ()
        self._asked: object = None

    def before(self, optimizer: Optimizer, *_: object) -> None:
        """Zero what was written since the last step past the gates: loaded weights or state, gradients.

        Weights too, since weight decay would add them to the moments.
        """
        hasten()
        self._steps += 1
        self._pre = (*optimizer._optimizer_step_pre_hooks,)
        doubt = self._steps % SWEEP == 0 or (not self._plain and captured())
        if doubt or self._steady is None or not self._steady.same(optimizer):
            self._sweep(optimizer)
        if self._gates:
            doubt = doubt or exchanged()
            for parameter, hold in self._held:
                if parameter.grad is not None and (doubt or not hold.gated(parameter.grad)):
                    hold.gate(parameter)

    def after(self, optimizer: Optimizer, *arguments: object) -> None:
        """What the step wrote is zeroed, unless it is known to be zero."""
        if self._steady is not None and self._keeps_zeros(optimizer, arguments):
            self._steady.renew()
            return
        self._sweep(optimizer)
        if self._gates:
            for parameter, hold in self._held:
                hold.gate(parameter)

    def _keeps_zeros(self, optimizer: Optimizer, arguments: tuple[object, ...]) -> bool:
        """Whether the step surely left zero what was zero: by its kind and settings, and by what stands there now."""
        if not (self._plain and self._gates) or arguments != ((optimizer,), {}):
            return False
        settings = [(*group.values(),) for group in optimizer.param_groups]
        asked = (self._pre, (*chain(*step_hooks(optimizer)),), settings)
        if asked != self._asked:
            alone = self._pre == (*optimizer._optimizer_step_pre_hooks,)
            self._asked, self._keeps = asked, alone and keeps_zeros(optimizer, arguments)
        return self._keeps and all(hold.calm(parameter) for parameter, hold in self._held)

    def _sweep(self, optimizer: Optimizer) -> None:
        """Zero all weights and moments, without a check of writes."""
        self._held = self._find()
        for parameter, hold in self._held:
            for tensor in (parameter, *moments(optimizer, parameter)):
                hold.clear(tensor)
        self._plain = all(hold.plain(parameter) for parameter, hold in self._held)
        gates = [hold.handle for _, hold in self._held if hold.handle is not None]
        self._steady = Steady(self._model, self._names, optimizer, gates)


SWEEP = 64
"""Every so many steps of an optimizer everything is zeroed, without a check of writes."""
