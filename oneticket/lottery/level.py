"""One level of a search in somebody's own loop: what the loop trains, and what it tells back."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from oneticket.ground.errors import GuardError, SpecError, TrainingError
from oneticket.lottery.kept import live, unwrapped
from oneticket.ticket.check import owns, steppers
from oneticket.ticket.guard import Guard, attach
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.values import facts as checked

if TYPE_CHECKING:
    from oneticket.lottery.driven import Search

Optimizers = Optimizer | Sequence[Optimizer]


class Level:
    """A level that `Search` yields, open until the loop's body is done with it.

    - `number`: 0 is dense. `mask`, `density`: what lives in it; the mask's names are the model's without wrappers.
    - `start`: the optimizer step that its first weights come from, for a schedule that continues there.
    - `model`: the model as it was given to the search.
    - `optimizer`, `guard`: what is attached, and what holds the mask; None as long as nothing is attached.
    - `steps`: how often `step` was called in this level. `scores`: what was recorded. `over`: whether it is done with.
    - `search`: the search that yields it. `rule`: its guards' rule.

    >>> import torch
    >>> from torch import nn
    >>> from oneticket.lottery.driven import Search
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> for level in Search(model, lambda model: torch.optim.SGD(model.parameters(), lr=0.1), levels=1, fraction=0.5):
    ...     level.model(torch.ones(3, 4)).square().sum().backward()
    ...     level.optimizer.step()
    ...     level.step()
    ...     print(level.number, level.density, level.steps, level.guard.audit())
    0 1.0 1 0 pruned weights in 0 parameters and 0 moments are exactly zero
    1 0.5 1 16 pruned weights in 1 parameters and 0 moments are exactly zero
    """

    def __init__(
        self,
        *,
        number: int,
        mask: Mask,
        start: int,
        search: Search,
        rule: str,
        on_step: Callable[[Level], None],
        steps: int = 0,
        scores: Mapping[str, Any] | None = None,
    ) -> None:
        self.number, self.mask, self.density, self.start = number, mask, mask.density, start
        self.search, self.model = search, search.model
        self.steps, self.scores, self.over = steps, dict(scores or {}), False
        self.optimizer: Optimizers | None = None
        self.guard: Guard | None = None
        self.rule, self._on_step = rule, on_step
        self._stepped: list[Optimizer] = []
        self._counter: RemovableHandle | None = None

    def step(self, *_: object) -> None:
        """Say that an optimizer step was made; whatever a framework hands over is ignored.

        Raises TrainingError when the level is over, GuardError when no optimizer is attached.
        """
        self._check("step")
        if self.guard is None:
            raise GuardError(self._loose())
        self.steps += 1
        self._on_step(self)

    def attach(self, optimizer: Optimizers) -> Guard:
        """Hold the level's mask while these optimizers step: for those that a framework makes later.

        A second call takes the place of the first. Raises TrainingError when the level is over, GuardError for an
        optimizer that has moments from another level or where none has a trainable weight that the search may prune,
        and what `oneticket.attach` raises.
        """
        self._check("attach")
        found, stepped = live(unwrapped(self.model)), steppers(optimizer)
        if any(used(one) and one.state for one in stepped):
            raise GuardError(
                f"level {self.number}: an optimizer comes from another level, with its moments; every level starts "
                "with a fresh one, so let optimizer_fn make it anew"
            )
        # A mask that is full holds nothing, and so would ask for no optimizer before the layer is pruned.
        trained = [name for name in self.mask if found[name].requires_grad]
        if loose := [name for name in trained if not any(owns(one, found[name]) for one in stepped)]:
            raise GuardError(
                f"level {self.number}: no optimizer has {listed(loose)}; hand over the optimizer that steps it, freeze "
                "it, or take it out of the search by prunable=['!name']"
            )
        self._let_go()
        self.guard = None
        self._stepped = stepped
        # Kept, because a framework may drop its optimizers before the level is audited.
        self.guard, self.optimizer = attach(self.model, optimizer, self.mask, rule=self.rule), optimizer
        return self.guard

    def count(self) -> None:
        """Call `step` after every step of the last optimizer attached, but for those that a GradScaler leaves out.

        Until the next `attach` or the end of the level. Raises GuardError when no optimizer is attached.
        """
        if self.optimizer is None:
            raise GuardError(self._loose())
        last = self.optimizer[-1] if isinstance(self.optimizer, Sequence) else self.optimizer
        self._counter = steppers(last)[0].register_step_post_hook(self._counted)

    def record(self, **scores: object) -> None:
        """Put scores into the level's record in the book; a name that comes again takes the place of the first.

        Raises SpecError for what JSON cannot hold or a name that the record has already.
        """
        self._check("record")
        if taken := set(scores) & set(self.facts()):
            raise SpecError(f"level.record: the record has {listed(taken)} of its own; take another name")
        self.scores |= checked(scores, "level.record")

    def facts(self) -> dict[str, Any]:
        """What every record says: level, density, living weights, steps."""
        return {"level": self.number, "density": self.density, "living": self.mask.living, "steps": self.steps}

    def audit(self) -> None:
        """Check that the mask was held; raises GuardError with every violation."""
        if self.guard is None:
            raise GuardError(self._loose())
        self.guard.audit()

    def close(self) -> None:
        """Let go of the model: no guard holds it any more, and no more steps are taken."""
        self.over = True
        self._let_go()
        _USED.update(self._stepped)

    def _let_go(self) -> None:
        if self.guard is not None:
            self.guard.detach()
        if self._counter is not None:
            self._counter.remove()

    def _counted(self, optimizer: Optimizer, *_: object) -> None:
        # To an optimizer that leaves steps out by itself, as fused ones do, a GradScaler says so by this attribute.
        if not getattr(optimizer, "found_inf", None):
            self.step()

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

    def __repr__(self) -> str:
        return f"Level({self.number}, {self.mask!r}, start={self.start}, steps={self.steps})"


def used(optimizer: object) -> bool:
    """Whether this is an optimizer that a level had which is over; of a wrapped one, the one inside."""
    return optimizer in _USED


_USED: weakref.WeakSet[Optimizer] = weakref.WeakSet()
"""Optimizers of levels that are over."""
