"""How many steps a level's optimizers made, counted by hooks, and the steps that a loop reports itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from oneticket.ground.errors import TrainingError
from oneticket.guard.optimizer_state import watching
from oneticket.guard.zero import WORDS
from oneticket.ticket.mask import Mask


class StepCounter:
    """Counts a level's steps from its creation until `stop`.

    A step is one round of all optimizers: it is done when each has stepped once, or when one is about to step again,
    such as a critic that steps more often than its generator. A step that a GradScaler skips does not count, and a
    closure that is evaluated many times counts once. After the first call of `report_step`, a
    step is what lies between two calls, if an optimizer stepped between them.

    `on_step` is called with their number when a step is done. `where`: the beginning of messages. `watched`: parameters
    by name, of which a few weights that remain in `mask` are checked when a loop reports a step that no optimizer made.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        *,
        steps: int,
        on_step: Callable[[int], None],
        where: str,
        watched: Mapping[str, Tensor],
        mask: Mask,
    ) -> None:
        self.steps = self._first = steps
        self._on_step, self._where, self._optimizers = on_step, where, [*optimizers]
        self._since: Counter[Optimizer] = Counter()  # steps of each optimizer since the loop last reported one
        self._round: set[Optimizer] = set()
        self._inside: set[Optimizer] = set()
        self._tells, self._moved = False, 0
        self._places = [(watched[name], _some(mask[name])) for name in [*watched][:WATCHED]]
        self._seen = self._look()
        self._handles = [one.register_step_pre_hook(watching(self._before)) for one in optimizers]
        self._handles += [one.register_step_post_hook(watching(self._after)) for one in optimizers]

    @property
    def stepping(self) -> bool:
        """Whether one of the optimizers is within its step, and may step others that it keeps."""
        return bool(self._inside)

    def report_step(self) -> None:
        """The loop reports a step; raises TrainingError if its optimizers made none."""
        before, self._tells = self._tells, True
        if not self._since:
            self._idle()
            return
        self._check_steps()
        self.steps = (self.steps if before else self._first) + 1
        self._moved, self._seen = 0, self._look()
        self._since.clear()
        self._round.clear()
        self._on_step(self.steps)

    def finish(self) -> None:
        """As `stop`; raises TrainingError if the loop reported steps and no optimizer made any."""
        self.stop()
        if self._tells and self.steps == self._first:
            raise TrainingError(f"{self._where}: level.step was called, {UNSTEPPED}")

    def stop(self) -> None:
        """Count no more; a round that not all optimizers ended is a step."""
        if self._round and not self._tells:
            self._count()
        for handle in self._handles:
            handle.remove()

    def _before(self, optimizer: Optimizer, *_: object) -> None:
        self._inside.add(optimizer)
        if optimizer in self._round and not self._tells:
            self._count()

    def _after(self, optimizer: Optimizer, *_: object) -> None:
        self._inside.discard(optimizer)
        # A GradScaler sets this attribute on optimizers that skip steps themselves, as fused ones do.
        if getattr(optimizer, "found_inf", None):
            return
        self._since[optimizer] += 1
        self._round.add(optimizer)
        if self._tells:
            self._check_steps()
        elif len(self._round) == len(self._optimizers):
            self._count()

    def _count(self) -> None:
        self.steps += 1
        self._round.clear()
        self._on_step(self.steps)

    def _check_steps(self) -> None:
        """Several optimizers may step in any pattern, as long as one of them steps once."""
        fewest = min(self._since[one] for one in self._optimizers)
        if fewest > 1:
            raise TrainingError(
                f"{self._where}: {fewest} optimizer steps, but one call of level.step; call it after every optimizer "
                "step, or not at all: steps are counted without it too"
            )

    def _idle(self) -> None:
        """No optimizer stepped: accumulation and a GradScaler leave the weights alone, and that is all right.

        Twice, because loaded weights are others too, once.
        """
        now, before = self._look(), self._seen
        changed = any(not _same(one, other) for one, other in zip(now, before, strict=True))
        self._moved, self._seen = self._moved + 1 if changed else 0, now
        if self._moved > 1:
            raise TrainingError(f"{self._where}: level.step was called and the weights changed, {UNSTEPPED}")

    def _look(self) -> list[Tensor]:
        return [torch.take(one.detach(), places.to(one.device)) for one, places in self._places]


def _some(remaining: Tensor) -> Tensor:
    """Flat positions of some remaining weights, spread over the tensor."""
    found = remaining.flatten().nonzero().flatten()
    return found[:: max(1, len(found) // PLACES)][:PLACES]


def _same(one: Tensor, other: Tensor) -> bool:
    """Bit by bit, because NaN is not itself; a tensor that was moved or converted counts as the same."""
    if one.dtype != other.dtype or one.device != other.device:
        return True
    return torch.equal(one.view(WORDS[one.dtype]), other.view(WORDS[other.dtype]))


UNSTEPPED = (
    "but no optimizer of the level stepped; train with level.optimizer, or hand the one that you step to level.attach"
)

WATCHED = 4
"""Parameters of which some weights are looked at."""

PLACES = 32
"""How many of each."""
