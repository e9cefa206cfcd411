"""One level of a search in somebody's own loop: what the loop trains, and what it tells back."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from oneticket.ground.errors import GuardError, SpecError, TrainingError
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
    - `search`: the search that yields it.

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
        self._rule, self._on_step = rule, on_step

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
        optimizer that has moments from another level, and what `oneticket.attach` raises.
        """
        self._check("attach")
        if any(one in _USED and one.state for one in _each(optimizer)):
            raise GuardError(
                f"level {self.number}: an optimizer comes from another level, with its moments; every level starts "
                "with a fresh one, so let optimizer_fn make it anew"
            )
        if self.guard is not None:
            self.guard.detach()
        self.guard = None
        # Kept, because a framework may drop its optimizers before the level is audited.
        self.guard, self.optimizer = attach(self.model, optimizer, self.mask, rule=self._rule), optimizer
        return self.guard

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
        if self.guard is not None:
            self.guard.detach()
        if self.optimizer is not None:
            _USED.update(_each(self.optimizer))

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


def _each(optimizer: Optimizers) -> Sequence[Optimizer]:
    return optimizer if isinstance(optimizer, Sequence) else [optimizer]


_USED: weakref.WeakSet[Optimizer] = weakref.WeakSet()
"""Optimizers of levels that are over."""
