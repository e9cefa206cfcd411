"""The settings of a search in the user's own loop, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from oneticket.ground.errors import SpecError, unknown
from oneticket.ground.when import When
from oneticket.guard.guard import RULES
from oneticket.lottery.level import Optimizers, Schedulers, several
from oneticket.lottery.spec import MOST_LEVELS


def check(optimizer_fn: object, *, levels: int, seed: int, rule: str) -> None:
    """Raise SpecError for a setting that no search can have."""
    if optimizer_fn is not None and not callable(optimizer_fn):
        kind = type(optimizer_fn).__name__
        raise SpecError(f"optimizer_fn: expected a function from the model to a new optimizer, got {kind}")
    _whole("levels", levels, 0, MOST_LEVELS)
    _whole("seed", seed, 0, 2**63 - 1, " on")
    if rule not in RULES:
        raise SpecError(unknown("rule", rule, RULES))


def batch(example: object) -> Tensor:
    """The example as a smaller network is fitted to it; raises SpecError if it is no tensor."""
    if not isinstance(example, Tensor):
        given = type(example).__name__
        raise SpecError(f"example: compact=True needs a whole batch as the loop feeds it, one tensor; got {given}")
    return example


def split(given: Any) -> tuple[Optimizers, Schedulers]:
    """Optimizers and schedulers of what `optimizer_fn` returned: either may be one or a list; without schedulers None.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)])
    >>> scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    >>> split(([optimizer], scheduler))[1] is scheduler, split((optimizer, optimizer))[1]
    (True, None)
    """
    if isinstance(given, list | tuple) and len(given) == 2 and all(map(_schedules, several(given[1]))):
        return given[0], given[1]
    return given, None


def names(what: str, given: object) -> list[str]:
    """A name or several as a list; raises SpecError for anything else."""
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, Collection) or not all(isinstance(name, str) for name in found):
        raise SpecError(f"{what}: expected a name or a list of names, got {given!r}")
    return [*found]


def _whole(what: str, given: object, least: int, most: int, words: str = "") -> None:
    if type(given) is not int or not least <= given <= most:
        raise SpecError(f"{what}: expected a whole number from {least}{words or f' to {most}'}, got {given!r}")


def when(rewind: str, epoch: int | None) -> tuple[When, int]:
    """A rewind point, and its optimizer step; raises SpecError for epochs of unknown length."""
    try:
        found = When.parse(rewind)
    except SpecError as error:
        raise SpecError(f"rewind: {error}") from None
    if found.unit == "ep" and found.count and (type(epoch) is not int or epoch < 1):
        raise SpecError(f"rewind: {rewind} needs epoch=, the number of optimizer steps in one epoch, got {epoch!r}")
    return found, found.steps(epoch or 0)


def _schedules(one: object) -> bool:
    return callable(getattr(one, "step", None)) and not isinstance(one, Optimizer)
