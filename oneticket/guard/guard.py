"""The guard: pruned weights stay at exactly zero in any training loop, and an audit proves it."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from oneticket.ground.card import card_by
from oneticket.ground.errors import GuardError, unknown
from oneticket.guard.audit import Audit
from oneticket.guard.check import digest, named, owns, steppers, to_hold
from oneticket.guard.narrow import warn
from oneticket.guard.optimizer_state import flat, moments
from oneticket.guard.parameter_guard import ParameterGuard, parameter_at
from oneticket.guard.stepping import Held, Stepping
from oneticket.guard.zero import leaks, same
from oneticket.ticket.density import model_weights
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.shards import agree, reshard, shard, sharded


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
    nothing; a frozen parameter is projected; tied parameters share one mask. Flat state, as in LBFGS, is zero at pruned
    weights only under "gate+project" from the first step on, since it is made of gradients. State that has a
    parameter's shape by coincidence, as preconditioners of square layers in Shampoo or SOAP, is taken for a moment and
    zeroed. An optimizer within an optimizer, as in Lookahead, is held too; a wrapper whose step runs no hooks is
    refused. Moments in a tensor class of their own, such as torchao's 8 bits, are held if that class can represent
    zero; if not, as with 4 bits, the first step raises GuardError.

    The mask's names may differ from the model's by what wrappers add or by one prefix: see `match`. Of parameters that
    ranks share (FSDP2, other DTensors cut by `Shard` or `Replicate`) each rank holds and audits its own shards. Ranks
    that share or copy a model (DDP) compare mask and rule, by one collective: all hold it, or all raise the same error.

    A held model can be moved and converted by `model.to`. Where torch swaps parameters for that (sharded ones, or under
    `torch.__future__.set_swap_module_params_on_conversion`), torch refuses with "Couldn't swap": convert before you
    attach.

    Loading weights into the model undoes the projection until the next step; `Guard.audit` detects it. On the CPU,
    some writes do not reach torch's version counter (through `.data`, NumPy). The guard checks a sample of weights: if
    it shows such a write, the next step zeroes it. Any other, such as one into moments, is zeroed within `SWEEP` steps.

    Raises GuardError, with nothing changed, if names, shapes, dtypes, optimizers or ranks do not fit or a parameter is
    guarded already; PruneError for an invalid mask. Warns once of layers whose weight gradient torch may compute by a
    faulty kernel, with their names and the lines that avoid it: see `narrow`.

    >>> model = nn.PReLU(2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    >>> with attach(model, optimizer, {"weight": torch.tensor([True, False])}) as guard:
    ...     model(-torch.ones(4, 2)).sum().backward()
    ...     optimizer.step()
    ...     print(guard.audit())
    1 pruned weights in 1 parameters and 1 moments are exactly zero; density 0.5 of 2 prunable weights, 0.5 of all 2
    >>> model.weight.tolist()
    [2.25, 0.0]
    """
    if not isinstance(model, nn.Module):
        raise GuardError(f"expected a torch module, got {_kind(model)}")
    warn(model)
    return guarded(model, optimizer, mask, rule=rule)


def guarded(
    model: nn.Module, optimizer: Optimizer | Sequence[Optimizer], mask: Mapping[str, Tensor], *, rule: str
) -> Guard:
    """What `attach` does, for loops that keep to `narrow.sliced` and so need no warning."""
    try:
        if rule not in RULES:
            raise GuardError(unknown("rule", rule, RULES))
        reshard(model)
        optimizers = steppers(optimizer)
        held = named(model, mask if isinstance(mask, Mask) else Mask(mask))
        names = to_hold(model, optimizers, held, gates=RULES[rule])
        for guard in attached():
            if both := [name for name in names if guard._has(model.get_parameter(name))]:
                raise GuardError(f"{listed(both)}: already held by {guard!r}; detach it first")
    except Exception as error:
        # After any error the other ranks wait for a message.
        agree(model, f"{_kind(error)}: {error}")
        raise
    agree(model, f"{held!r} with digest {digest(held)}, rule {rule!r}")
    return Guard(model, optimizers, held, rule, names)


def attached() -> list[Guard]:
    """The guards that hold a mask now, in any model of this process."""
    return list(_ATTACHED)


class Guard:
    """A mask being held, made by `attach`; also a context manager that detaches at its end.

    The parameters stay the model's own: nothing is renamed, wrapped or re-parametrised, and copies of the model are
    unguarded. Parameters are looked up by name at every step, so one that was replaced is held from the next step on.

    >>> model = nn.Linear(2, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> guard = attach(model, optimizer, {"weight": torch.tensor([[True, False], [True, True]])})
    >>> model(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    >>> guard.audit().remaining, list(guard.parameters()), sorted(guard.state_dict())
    (3, ['weight'], ['mask', 'rule'])
    >>> guard.load_state_dict(guard.state_dict())
    >>> guard.detach()
    >>> guard
    Guard(Mask(1 tensors, 3 of 4 weights remain, density 0.75), rule='gate+project', detached)
    """

    def __init__(
        self, model: nn.Module, optimizers: Sequence[Optimizer], mask: Mask, rule: str, names: Collection[str]
    ) -> None:
        self.mask = mask
        self.rule = rule
        self._gates = RULES[rule]
        self._model = model
        self._holds: dict[str, ParameterGuard] = {}
        patterns: dict[int, Tensor] = {}
        for name in names:
            hold = self._holds[name] = ParameterGuard(parameter := model.get_parameter(name), mask[name])
            hold.keep = patterns.setdefault(id(parameter), hold.keep)  # of tied ones, which may be untied
        # An optimizer's hooks refer to the guard; a weak reference back leaves no cycle.
        self._optimizers = [weakref.ref(optimizer) for optimizer in optimizers]
        self._handles: list[RemovableHandle] = []
        try:
            for optimizer in optimizers:
                if self._holds:
                    around = Stepping(model, self._holds, self._held, gates=self._gates)
                    around.before(optimizer)
                    self._handles.append(optimizer.register_step_pre_hook(around.before))
                    self._handles.append(optimizer.register_step_post_hook(around.after))
        except BaseException:
            self.detach()
            raise
        # A guard that is collected with its optimizers removes its gates, or the model would never train densely again.
        weakref.finalize(self, _ungate, tuple(self._holds.values())).atexit = False
        _ATTACHED.add(self)

    def audit(self) -> Audit:
        """Check that the mask holds in weights, moments and hooks; raises GuardError that names every violation."""
        if self not in _ATTACHED:
            raise GuardError("the guard was detached and holds nothing")
        wrong, found, seen = [], 0, set()
        if not all(handle.id in (handle.hooks_dict_ref() or {}) for handle in self._handles):
            wrong.append("an optimizer is gone, or lost the guard's hooks")
        for name, hold in self._holds.items():
            parameter = self._find(name, hold)
            if parameter is None or not hold.fits(parameter):
                shared = ", sharded in another way" if parameter is not None and parameter.shape == hold.shape else ""
                now = "not in the model any more" if parameter is None else f"now of shape {tuple(parameter.shape)}"
                wrong.append(f"{name}: {now}{shared}; the mask has {tuple(hold.shape)}")
                continue
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if not self._same(name, hold, parameter):
                wrong.append(f"{name}: what is held is not the mask any more")
            if count := leaks(parameter, hold.keep):
                wrong.append(f"{name}: pruned weights that are not zero: {count}")
            holders = [one for ref in self._optimizers if (one := ref()) is not None and owns(one, parameter)]
            if parameter.requires_grad and not holders:
                wrong.append(f"{name}: no optimizer has this parameter; was it replaced after the attach?")
            if parameter.requires_grad and self._gates and not hold.gates(parameter):
                wrong.append(f"{name}: no gate on its gradient; was it replaced or unfrozen after the last step?")
            for optimizer in holders:
                for moment in [*moments(optimizer, parameter), *(flat(optimizer, parameter) if self._gates else [])]:
                    found += 1
                    if count := leaks(moment, hold.keep):
                        wrong.append(f"{name}: {_kind(optimizer)} moments at pruned weights that are not zero: {count}")
        if wrong:
            raise GuardError("the mask does not hold:\n" + "\n".join(wrong))
        own = [(name, parameter_at(self._model, name)) for name in self.mask]
        here = {id(one): self._counts(name, one) for name, one in own if one is not None}.values()  # tied ones once
        return Audit(
            parameters=len(seen),
            remaining=sum(remaining for remaining, _ in here),
            total=sum(total for _, total in here),
            whole=model_weights(self._model),
            moments=found,
            sharded=any(hold.sharded for hold in self._holds.values()),
        )

    def state_dict(self) -> dict[str, str]:
        """The guard's entry in a checkpoint: the rule, and the mask's digest, the same for any wrapper of the model."""
        return {"mask": digest(self.mask), "rule": self.rule}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Check that a checkpoint was written under this very mask and rule; raises GuardError if it was not."""
        mine = self.state_dict()
        if not isinstance(state, Mapping) or set(state) != set(mine):
            raise GuardError(f"expected what a guard's state_dict() gave, {listed(mine)}; got {state!r}")
        if wrong := [
            f"{name} is {mine[name]}, there it was {state[name]}" for name in mine if mine[name] != state[name]
        ]:
            raise GuardError(f"the checkpoint was written under another guard: {'; '.join(wrong)}")

    def detach(self) -> None:
        """Remove every hook; weights, gradients and moments stay as they are. A second call does nothing."""
        for handle in self._handles:
            handle.remove()
        _ungate(self._holds.values())
        _ATTACHED.discard(self)

    def _held(self) -> Held:
        """Every parameter that is held, once, with its hold, which follows it; of tied ones the first is gated."""
        found, seen = [], set()
        for name, hold in self._holds.items():
            parameter = self._find(name, hold)
            if parameter is None or not hold.fits(parameter):
                raise GuardError(
                    f"{name}: the model changed under the guard; detach it, then attach the mask that fits"
                )
            if id(parameter) in seen:
                hold.ungate()
                continue
            seen.add(id(parameter))
            hold.follow(parameter, gate=self._gates and parameter.requires_grad)
            found.append((parameter, hold))
        return found

    def _same(self, name: str, hold: ParameterGuard, parameter: Tensor) -> bool:
        """Whether what is held of a parameter is the mask."""
        if hold.sharded:
            return torch.equal(hold.keep.cpu() != 0, shard(self.mask[name], parameter))
        return same(hold.keep, self.mask.pack()[name])

    def _counts(self, name: str, parameter: Tensor) -> tuple[int, int]:
        """How many weights of a parameter remain on this rank, and how many are here."""
        if sharded(parameter):
            remaining = shard(self.mask[name], parameter)
            return int(remaining.count_nonzero()), remaining.numel()
        return self.mask.counts[name], parameter.numel()

    def _find(self, name: str, hold: ParameterGuard) -> nn.Parameter | None:
        parameter = parameter_at(self._model, name)
        if hold.sharded and parameter is not None and not sharded(parameter):
            reshard(self._model)
            parameter = parameter_at(self._model, name)
        return parameter

    def _has(self, parameter: Tensor) -> bool:
        return any(self._find(name, hold) is parameter for name, hold in self._holds.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def parameters(self) -> dict[str, nn.Parameter | None]:
        """Name -> the parameter that is held there now; None where the model has none any more."""
        return {name: parameter_at(self._model, name) for name in self._holds}

    _repr_html_ = card_by("guard.card:of_guard")

    def __repr__(self) -> str:
        return f"Guard({self.mask!r}, rule={self.rule!r}, {'attached' if self in _ATTACHED else 'detached'})"


def _ungate(holds: Iterable[ParameterGuard]) -> None:
    for hold in holds:
        hold.ungate()


def _kind(thing: object) -> str:
    return type(thing).__name__


_ATTACHED: weakref.WeakSet[Guard] = weakref.WeakSet()

RULES = {"gate+project": True, "project": False}
"""Rule -> whether gradients are gated."""
