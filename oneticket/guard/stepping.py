"""The steps of one optimizer under a guard: written entries are zeroed, entries without a write are skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import nn
from torch.compiler import is_dynamo_compiling
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from oneticket.guard.optimizer_state import RANKS, captured, keeps_zeros, moments
from oneticket.guard.parameter_guard import ParameterGuard, outside
from oneticket.guard.steady import Steady
from oneticket.guard.zero import Spots, hasten
from oneticket.ticket.shards import local

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
        "_outside",
        "_plain",
        "_pre",
        "_spots",
        "_steady",
        "_steps",
        "_swept",
    )

    def __init__(self, model: nn.Module, names: Collection[str], find: Callable[[], Held], *, gates: bool) -> None:
        self._model, self._names, self._find, self._gates = model, names, find, gates
        self._outside = outside()
        self._steady: Steady | None = None
        self._held: Held = []
        self._steps, self._swept, self._keeps, self._plain = 0, 0, False, False
        self._pre: tuple[int, ...] = ()
        self._asked: object = None

    def before(self, optimizer: Optimizer, *_: object) -> None:
        """Zero what was written since the last step past the gates: loaded weights or state, gradients.

        Weights too, since weight decay would add them to the moments.
        """
        if is_dynamo_compiling():
            self._outside(self.before, optimizer)
            return
        self._steps += 1
        self._pre = (*optimizer._optimizer_step_pre_hooks,)
        doubt = self._steps % SWEEP == 0 or (not self._plain and captured())
        if doubt or self._steady is None or not self._steady.same(optimizer):
            self._sweep(optimizer)
        if self._gates:
            doubt = doubt or RANKS._world.default_pg is not None  # ranks write where torch counts no write
            for parameter, hold in self._held:
                if (grad := parameter.grad) is not None:
                    read, version, address = hold.read
                    same = read() is grad and grad._version == version and grad.data_ptr() == address
                    if doubt or not (same or hold.gated(grad)):
                        hold.gate(parameter)

    def after(self, optimizer: Optimizer, arguments: tuple[object, ...], settings: Mapping[str, object]) -> None:
        """What the step wrote is zeroed, unless it is known to be zero."""
        if is_dynamo_compiling():
            self._outside(self.after, optimizer, arguments, settings)
            return
        if self._plain and self._gates and len(arguments) == 1 and not settings:
            asked = [
                *self._pre,
                *optimizer._optimizer_step_pre_hooks,
                *optimizer._optimizer_step_post_hooks,
                *_global_optimizer_pre_hooks,
                *_global_optimizer_post_hooks,
                *map(tuple, map(dict.values, optimizer.param_groups)),
            ]
            if asked != self._asked:
                self._asked, self._keeps = asked, keeps_zeros(optimizer, self._pre)
            if self._keeps and self._steady is not None and not self._spots.written():
                self._steady.renew()
                return
        self._sweep(optimizer)
        if self._gates:
            for parameter, hold in self._held:
                hold.gate(parameter)

    def _sweep(self, optimizer: Optimizer) -> None:
        """Zero all weights and moments, without a check of writes."""
        hasten(self._steps - self._swept, (parameter.numel() for parameter, _ in self._held))
        self._swept = self._steps
        self._held = self._find()
        for parameter, hold in self._held:
            for tensor in (parameter, *moments(optimizer, parameter)):
                hold.clear(tensor)
        self._plain = all(hold.plain(parameter) for parameter, hold in self._held)
        self._spots = (
            Spots((local(parameter), hold.places) for parameter, hold in self._held) if self._plain else Spots(())
        )
        gates = [hold.handle for _, hold in self._held if hold.handle is not None]
        self._steady = Steady(self._model, self._names, optimizer, gates)


SWEEP = 64
"""Every so many steps of an optimizer everything is zeroed, without a check of writes."""
