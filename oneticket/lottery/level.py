"""One level of a search in the user's own loop: what it trains and reports (long: one class with its checks)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from oneticket.compact.in_loop import Compacted
from oneticket.compact.in_loop import check as check_compact
from oneticket.ground.card import card_by
from oneticket.ground.errors import GuardError, SpecError, TrainingError
from oneticket.guard.check import named, owns, steppers
from oneticket.guard.guard import Guard, attach
from oneticket.guard.optimizer_state import moments, watching
from oneticket.guard.packed import check, packed
from oneticket.lottery.resumed import WeightsCheck
from oneticket.lottery.retired import used
from oneticket.lottery.snapshot import live, unwrapped
from oneticket.lottery.step_counter import StepCounter
from oneticket.ticket.density import Density, model_weights
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.shards import local
from oneticket.ticket.values import facts as checked

Optimizers = Optimizer | Sequence[Optimizer]
Schedulers = Any
"""One scheduler or a list of them: anything with a method `step`, since many packages have their own schedulers."""


class Searching(Protocol):
    """What a level knows of the search that yields it: the model, and how far the search has come."""

    model: nn.Module

    def state_dict(self) -> dict[str, Any]:
        """How far it has come."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from that state."""


class Level:
    """One level, as `Search` yields it. It is open until the loop's body ends.

    - `number`: 0 is dense. `mask`, `density`: its remaining prunable weights; the mask's names are the model's without
      wrappers. `weight_counts`: the same, and the remaining share of all weights of the model.
    - `start`: the optimizer step that its first weights come from, for a schedule that continues there.
    - `model`: the model as given to the search. `network`: what the loop calls and clips instead. It is the model
      itself, or with `compact=True` that of `small`, a `Compacted`, once an optimizer is attached to a pruned level.
    - `optimizer`, `scheduler`, `guard`: what is attached, and what holds the mask; None until something is attached.
      The loop steps optimizer and scheduler.
    - `steps`: the optimizer steps in this level, a round of several optimizers as one; accumulated batches and steps
      that a GradScaler skips do not count. `scores`: what was recorded. `over`: whether the level has ended.
    - `search`: the search that yields it. `rule`: its guards' rule. `attached`: every optimizer that is watched.

    >>> import torch
    >>> from torch import nn
    >>> from oneticket.lottery.loop_search import Search
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> for level in Search(model, lambda model: torch.optim.SGD(model.parameters(), lr=0.1), levels=1, fraction=0.5):
    ...     level.model(torch.ones(3, 4)).square().sum().backward()
    ...     level.optimizer.step()
    ...     print(level)
    Level(0, density 1 of 32 prunable weights, 1 of all 58, start=0, steps=1)
    Level(1, density 0.5 of 32 prunable weights, 0.7241 of all 58, start=0, steps=1)
    """

    def __init__(
        self,
        *,
        number: int,
        mask: Mask,
        start: int,
        search: Searching,
        rule: str,
        on_step: Callable[[Level, int], None],
        steps: int = 0,
        scores: Mapping[str, Any] | None = None,
        weights: str = "",
        example: Tensor | None = None,
    ) -> None:
        self.number, self.mask, self.density, self.start = number, mask, mask.density, start
        self.search, self.model, self.network = search, search.model, search.model
        self._example = example  # None: the model itself is trained
        self.small: Compacted | None = None
        self.scores, self.over = dict(scores or {}), False
        self.optimizer: Optimizers | None = None
        self.scheduler: Schedulers = None
        self.guard: Guard | None = None
        self.rule, self._on_step = rule, on_step
        self.attached: list[Optimizer] = []
        self._first = steps
        self._counter: StepCounter | None = None
        self._expected = weights
        self._check_weights: WeightsCheck | None = None
        here = weakref.ref(self)
        self._watch = register_optimizer_step_pre_hook(watching(lambda one, *_: _ask(here(), one)))

    @property
    def weight_counts(self) -> Density:
        """How many weights remain, may be pruned, and are in the whole model."""
        return Density(remaining=self.mask.remaining, total=self.mask.total, whole=model_weights(self.model))

    @property
    def steps(self) -> int:
        """The optimizer steps that were made in this level."""
        return self._first if self._counter is None else self._counter.steps

    def step(self, *_: object) -> None:
        """Mark the end of a step. Only loops whose optimizers take turns need it; all others are counted by themselves.

        Arguments from a framework are ignored. Raises TrainingError when the level is over, and where no optimizer
        stepped or all stepped more than once; GuardError when none is attached.
        """
        self._check("step")
        if self._counter is None:
            raise GuardError(self._loose())
        self._counter.report_step()

    def attach(self, optimizer: Optimizers, scheduler: Schedulers = None) -> Guard:
        """Hold the level's mask while these optimizers step: for optimizers that a framework creates later.

        A second call replaces the first. `scheduler` becomes `level.scheduler`. Raises TrainingError when the
        level is over, GuardError for an optimizer of another level, for a scheduler of another optimizer, or where none
        has a trainable weight that the search may prune, and what `oneticket.attach` raises.
        """
        self._check("attach")
        if self.small is not None:
            self._let_go()  # the same optimizers may come again, and are to step the model's parameters then
        found, stepped = live(unwrapped(self.model)), steppers(optimizer)
        self._fresh(stepped, scheduler)
        # A mask that is full holds nothing, and so would ask for no optimizer before the layer is pruned.
        trained = {name: found[name] for name in self.mask if found[name].requires_grad}
        if loose := [name for name in trained if not any(owns(one, trained[name]) for one in stepped)]:
            raise GuardError(
                f"level {self.number}: no optimizer has {listed(loose)}; hand over the optimizer that steps it, freeze "
                "it, or take it out of the search by prunable=['!name']"
            )
        self._let_go()
        self.guard = None
        self.attached = stepped
        # Kept, because a framework may drop its optimizers before the level is audited.
        self.guard, self.optimizer = self._hold(optimizer), optimizer
        self.scheduler, self._first = scheduler, self.steps
        self._counter = StepCounter(
            stepped,
            steps=self._first,
            on_step=self._stepped,
            where=f"level {self.number}",
            watched=trained,
            mask=self.mask,
        )
        if self._expected and (self._check_weights is None or not self._check_weights.done):
            inner = unwrapped(self.model)
            self._check_weights = WeightsCheck(
                stepped, inner, self.mask, expected=self._expected, where=f"level {self.number}"
            )
        return self.guard

    def _hold(self, optimizer: Optimizers) -> Guard:
        if self._example is not None:
            check_compact(self.model, self.attached)
            if self.mask.remaining < self.mask.total:
                small = Compacted(self.model, optimizer, self.mask, example=self._example, rule=self.rule)
                self.small, self.network = small, small.network
                return small.guard
        return attach(self.model, optimizer, self.mask, rule=self.rule)

    def restore(self) -> None:
        """Write what was trained so far into the model, if another network is trained in its place."""
        if self.small is not None:
            self.small.restore()

    def fill(self, mask: Mask) -> None:
        """Replace a full mask by another full one; a guard holds nothing under either."""
        self.mask = mask
        if self.guard is not None:
            self.guard.mask = named(self.model, mask)

    def record(self, **scores: object) -> None:
        """Put scores into the level's record in the book; a repeated name replaces the first.

        Raises SpecError for what JSON cannot hold or a name that the record has already.
        """
        self._check("record")
        if taken := set(scores) & set(self.facts()):
            raise SpecError(f"level.record: the record has {listed(taken)} of its own; take another name")
        self.scores |= checked(scores, "level.record")

    def facts(self) -> dict[str, Any]:
        """The fields of every record: level, both densities, remaining weights, steps."""
        return {
            "level": self.number,
            "density": self.density,
            "model_density": self.weight_counts.model,
            "living": self.mask.remaining,
            "steps": self.steps,
        }

    def audit(self) -> None:
        """Check that the mask was held; raises GuardError with every violation."""
        if self.guard is None:
            raise GuardError(self._loose())
        (self.small or self.guard).audit()

    def finish(self) -> None:
        """End the level: audit, count a step that not all optimizers finished, and restore the model.

        Raises GuardError as `audit` does, TrainingError if the loop reported steps and no optimizer made any.
        """
        self.audit()
        if self._counter is not None:
            self._counter.finish()
        if self.small is not None:
            self.small.close()

    def close(self) -> None:
        """Release the model: remove the guard, and refuse further steps."""
        self.over = True
        self._let_go()
        self._watch.remove()

    def _let_go(self) -> None:
        if self.guard is not None:
            self.guard.detach()
        if self.small is not None:
            self.small.close()
        self.small, self.network = None, self.model
        if self._counter is not None:
            self._counter.stop()
        if self._check_weights is not None:
            self._check_weights.stop()

    def _stepped(self, steps: int) -> None:
        if steps == self._first + 1:
            self._check_moments()
        self._on_step(self, steps)

    def _check_moments(self) -> None:
        """Moments that cannot be zero are reported after the first step of level 0, else of level 1."""
        found = dict(unwrapped(self.network).named_parameters(remove_duplicate=False))
        for optimizer in self.attached:
            states = ([local(one) for one in moments(optimizer, found[name])] for name in self.mask if name in found)
            for one in next((state for state in states if any(map(packed, state))), []):
                check(one)

    def _fresh(self, optimizers: Sequence[Optimizer], scheduler: Schedulers) -> None:
        """Raise GuardError for what another level had."""
        if any(map(used, optimizers)):
            raise GuardError(
                f"level {self.number}: an optimizer comes from another level; every level starts with a fresh one, so "
                "let optimizer_fn make it anew"
            )
        for one in several(scheduler):
            driven = getattr(one, "optimizer", None)
            if isinstance(driven, Optimizer) and not set(steppers(driven)) <= {*optimizers}:
                raise GuardError(
                    f"level {self.number}: {type(one).__name__} schedules another optimizer than the level's; let "
                    "optimizer_fn make both anew and return (optimizer, scheduler)"
                )

    def _check(self, what: str) -> None:
        if self.over:
            raise TrainingError(
                f"level.{what}: level {self.number} is over; use the level that the search yields now, inside its loop"
            )

    def _loose(self) -> str:
        return (
            f"level {self.number}: no optimizer is attached, so its mask is not held; give Search an optimizer_fn, or "
            "call level.attach(optimizer) before the first step"
        )

    def foreign(self, optimizer: Optimizer) -> bool:
        """Whether this optimizer would step weights of the level without being attached, or within one that is."""
        if optimizer in self.attached or (self._counter is not None and self._counter.stepping):
            return False
        both = [unwrapped(each).named_parameters(remove_duplicate=False) for each in (self.model, self.network)]
        mine = {id(one) for found in both for name, one in found if name in self.mask}
        if not any(id(one) in mine for group in optimizer.param_groups for one in group["params"]):
            return False
        return not set(steppers(optimizer)) <= {*self.attached}

    _repr_html_ = card_by("lottery.cards:of_level")

    def __repr__(self) -> str:
        return f"Level({self.number}, {self.weight_counts}, start={self.start}, steps={self.steps})"


def several(given: object) -> list[Any]:
    """The things in a list, or the one; none of None."""
    return [] if given is None else [*given] if isinstance(given, list | tuple) else [given]


def _ask(level: Level | None, optimizer: Optimizer) -> None:
    """Before any optimizer steps: a level that is open does not let another one write its weights."""
    if level is None or not level.foreign(optimizer):
        return
    if not level.attached:
        raise GuardError(level._loose())
    raise GuardError(
        f"level {level.number}: this {type(optimizer).__name__} steps its weights, but it is not the level's, so the "
        "mask would not be held; step level.optimizer, or hand this one to level.attach"
    )
