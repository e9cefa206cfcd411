"""The guard: pruned weights stay at exactly zero in anybody's training loop, and it can be proved."""

from __future__ import annotations

import math
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from oneticket.ground.errors import GuardError, unknown
from oneticket.ticket.hold import ROOM, WORDS, Hold, leaks
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed, prefix_hint
from oneticket.ticket.zeros import exchanged, keeps_zeros, moments


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found in order: the parameters that are held, their weights, and the moments beside them."""

    parameters: int
    living: int
    total: int
    moments: int

    def __str__(self) -> str:
        dead = self.total - self.living
        return f"{dead:,} pruned weights in {self.parameters} parameters and {self.moments} moments are exactly zero"


def attach(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    mask: Mapping[str, Tensor],
    *,
    rule: str = "gate+project",
) -> Guard:
    """Hold a mask in a model while its optimizers step, from now until `Guard.detach`.

    At once and after every step, pruned weights and the optimizer moments of their shape are exactly zero. Under the
    rule "gate+project" gradients are also zeroed as they accumulate and again before the step, so that clipping and
    optimizers that mix entries (LARS, LAMB, Muon) see zeros; "project" leaves gradients alone. A full mask costs
    nothing; a frozen parameter is projected; tied parameters share one mask. Flat state, as LBFGS has, is zero at
    pruned weights because the gradients were; that takes the gate.

    Loading weights into the model undoes the projection until the next step; `Guard.audit` sees it. What torch counts
    no write of, on the CPU (through `.data`, NumPy), is zeroed with the next step if it shows in some of the weights,
    or else, as in moments alone, within `SWEEP` steps: what nobody wrote and an optimizer surely leaves zero is left.

    Raises GuardError, with nothing touched, if names, shapes, dtypes or optimizers do not fit or a parameter is guarded
    already.

    >>> model = nn.PReLU(2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    >>> with attach(model, optimizer, {"weight": torch.tensor([True, False])}) as guard:
    ...     model(-torch.ones(4, 2)).sum().backward()
    ...     optimizer.step()
    ...     print(guard.audit(), model.weight.tolist())
    1 pruned weights in 1 parameters and 1 moments are exactly zero [2.25, 0.0]
    """
    if not isinstance(model, nn.Module):
        raise GuardError(f"expected a torch module, got {_kind(model)}")
    if rule not in RULES:
        raise GuardError(unknown("rule", rule, RULES))
    optimizers: list[Optimizer] = [*optimizer] if isinstance(optimizer, Sequence) else [optimizer]
    for one in optimizers:
        if not isinstance(one, Optimizer) or not hasattr(one, "_optimizer_step_post_hooks"):
            raise GuardError(
                f"expected torch optimizers, got {_kind(one)}; of a wrapped optimizer hand over the inner one"
            )
    held = mask if isinstance(mask, Mask) else Mask(mask)
    return Guard(model, optimizers, held, rule, _to_hold(model, optimizers, held))


class Guard:
    """A mask being held, made by `attach`; also a context manager that detaches at its end.

    The parameters stay the model's own: nothing is renamed, wrapped or re-parametrised, and copies of the model are
    unguarded. Parameters are looked up by name at every step, so one that was replaced is held from the next step on.
    """

    def __init__(
        self, model: nn.Module, optimizers: Sequence[Optimizer], mask: Mask, rule: str, names: Collection[str]
    ) -> None:
        self.mask = mask
        self.rule = rule
        self._gates = RULES[rule]
        self._model = model
        held = {name: model.get_parameter(name) for name in names}
        room = torch.empty(ROOM, dtype=torch.uint8)
        self._holds = {name: Hold(p, mask[name], room=room) for name, p in held.items()}
        # An optimizer's hooks refer to the guard; a weak reference back leaves no cycle.
        self._optimizers = [weakref.ref(optimizer) for optimizer in optimizers]
        self._handles: list[RemovableHandle] = []
        self._steps = 0
        self._acting: list[tuple[Hold, nn.Parameter, list[Tensor]]] = []
        self._alone = True
        for optimizer in optimizers:
            self._before(optimizer)
            self._handles.append(optimizer.register_step_pre_hook(self._before))
            self._handles.append(optimizer.register_step_post_hook(self._after))
        # A guard that dies with its optimizers takes its gates along, or the model would never train densely again.
        weakref.finalize(self, _ungate, tuple(self._holds.values())).atexit = False
        _ATTACHED.add(self)

    def audit(self) -> Audit:
        """Check all that is promised; raises GuardError that names every violation."""
        if self not in _ATTACHED:
            raise GuardError("the guard was detached and holds nothing")
        wrong, found = [], 0
        if not all(handle.id in (handle.hooks_dict_ref() or {}) for handle in self._handles):
            wrong.append("an optimizer is gone, or lost the guard's hooks")
        for name, hold in self._holds.items():
            parameter = _parameter(self._model, name)
            if parameter is None or parameter.shape != hold.keep.shape:
                now = "not in the model any more" if parameter is None else f"now of shape {tuple(parameter.shape)}"
                wrong.append(f"{name}: {now}; the mask has {tuple(hold.keep.shape)}")
                continue
            if not torch.equal(hold.keep.cpu() != 0, self.mask[name]):
                wrong.append(f"{name}: what is held is not the mask any more")
            if count := leaks(parameter, hold.keep):
                wrong.append(f"{name}: pruned weights that are not zero: {count}")
            holders = [one for ref in self._optimizers if (one := ref()) is not None and _owns(one, parameter)]
            if parameter.requires_grad and not holders:
                wrong.append(f"{name}: no optimizer has this parameter; was it replaced after the attach?")
            if parameter.requires_grad and self._gates and not hold.gates(parameter):
                wrong.append(f"{name}: no gate on its gradient; was it replaced or unfrozen after the last step?")
            for optimizer in holders:
                for moment in moments(optimizer, parameter):
                    found += 1
                    if count := leaks(moment, hold.keep):
                        wrong.append(f"{name}: {_kind(optimizer)} moments at pruned weights that are not zero: {count}")
        if wrong:
            raise GuardError("the mask does not hold:\n" + "\n".join(wrong))
        return Audit(parameters=len(self._holds), living=self.mask.living, total=self.mask.total, moments=found)

    def detach(self) -> None:
        """Remove every hook; weights, gradients and moments stay as they are. A second call does nothing."""
        for handle in self._handles:
            handle.remove()
        _ungate(self._holds.values())
        _ATTACHED.discard(self)

    def _before(self, optimizer: Optimizer, *_: object) -> None:
        """What was written since the last step, past the gates too (loaded weights or state, gradients), is zeroed.

        Weights too: weight decay would carry them into the moments.
        """
        self._steps += 1
        doubt = self._steps % SWEEP < len(self._optimizers) or _capturing()
        self._acting, self._alone = [], len(optimizer._optimizer_step_pre_hooks) == 1
        for parameter, hold in self._each():
            zeros = [parameter, *moments(optimizer, parameter)]
            for tensor in zeros:
                if doubt or not hold.trusts(tensor):
                    hold.clear(tensor)
            grad = parameter.grad
            if grad is not None and self._gates and (doubt or exchanged() or not hold.trusts(grad)):
                hold.gate(parameter)
            self._acting.append((hold, parameter, zeros))

    def _after(self, optimizer: Optimizer, *arguments: object) -> None:
        """What the step wrote is zeroed, unless it is known to be zero."""
        acting, self._acting = self._acting, []
        if (
            self._gates
            and self._alone
            and keeps_zeros(optimizer, arguments)
            and all(hold.calm(p) for hold, p, _ in acting)
        ):
            for hold, _, zeros in acting:
                for tensor in zeros:
                    hold.trust(tensor)
            return
        for parameter, hold in self._each():
            for tensor in (parameter, *moments(optimizer, parameter)):
                hold.clear(tensor)
            if self._gates:
                hold.gate(parameter)

    def _each(self) -> Iterator[tuple[nn.Parameter, Hold]]:
        for name, hold in self._holds.items():
            parameter = _parameter(self._model, name)
            if parameter is None or parameter.shape != hold.keep.shape or parameter.dtype not in WORDS:
                raise GuardError(
                    f"{name}: the model changed under the guard; detach it, then attach the mask that fits"
                )
            hold.follow(parameter, gate=self._gates and parameter.requires_grad)
            yield parameter, hold

    def _has(self, parameter: Tensor) -> bool:
        return any(_parameter(self._model, name) is parameter for name in self._holds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def __repr__(self) -> str:
        return f"Guard({self.mask!r}, rule={self.rule!r}, {'attached' if self in _ATTACHED else 'detached'})"


def _to_hold(model: nn.Module, optimizers: Sequence[Optimizer], mask: Mask) -> list[str]:
    """The names to hold, one per parameter, without those of a full mask; refuses whatever cannot be held."""
    found = dict(model.named_parameters(remove_duplicate=False))
    if absent := set(mask) - set(found):
        raise GuardError(
            f"the mask has names that are no parameters of the model: {listed(absent)}; "
            f"the model has {listed(found)}{prefix_hint(set(mask), set(found))}"
        )
    first: dict[int, str] = {}
    for name, shape in mask.shapes.items():
        parameter = found[name]
        if is_lazy(parameter) or parameter.is_meta:
            raise GuardError(f"{name}: the parameter has no values yet; materialise the model first")
        if tuple(parameter.shape) != shape or parameter.dtype not in WORDS or parameter.layout != torch.strided:
            raise GuardError(
                f"{name}: expected a dense parameter of shape {shape} and dtype {', '.join(map(str, WORDS))}, "
                f"got {tuple(parameter.shape)}, {parameter.dtype}, {parameter.layout}"
            )
        other = first.setdefault(id(parameter), name)
        if other != name and not torch.equal(mask[other], mask[name]):
            raise GuardError(f"{name}: tied to {other} in the model, but their masks differ")
    counts = mask.counts
    names = [name for name in first.values() if counts[name] < math.prod(mask.shapes[name])]
    loose = [n for n in names if found[n].requires_grad and not any(_owns(one, found[n]) for one in optimizers)]
    if loose or not optimizers:
        raise GuardError(f"no optimizer has {listed(loose)}; hand over the optimizer that steps it, or freeze it")
    for guard in list(_ATTACHED):
        if both := [name for name in names if guard._has(found[name])]:
            raise GuardError(f"{listed(both)}: already held by {guard!r}; detach it first")
    return names


def _ungate(holds: Iterable[Hold]) -> None:
    for hold in holds:
        hold.ungate()


def _parameter(model: nn.Module, name: str) -> nn.Parameter | None:
    """`model.get_parameter(name)`, which takes 6 us where this takes one."""
    *path, last = name.split(".")
    module: nn.Module | None = model
    for part in path:
        module = module._modules.get(part) if module is not None else None
    return module._parameters.get(last) if module is not None else None


def _owns(optimizer: Optimizer, parameter: Tensor) -> bool:
    return any(one is parameter for group in optimizer.param_groups for one in group["params"])


def _capturing() -> bool:
    """Whether what is done now is recorded for later, when nobody asks what was written."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]


def _kind(thing: object) -> str:
    return type(thing).__name__


_ATTACHED: weakref.WeakSet[Guard] = weakref.WeakSet()

RULES = {"gate+project": True, "project": False}
"""Rule -> whether gradients are gated."""

SWEEP = 64
"""Every so many steps nothing is taken for zero, whoever wrote."""
