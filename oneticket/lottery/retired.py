"""Optimizers of finished levels: their use in a later level, also by a scheduler, raises an error at that step."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from torch.optim import Optimizer

from oneticket.ground.errors import TrainingError

Group = dict[str, Any]


class Retired:
    """The optimizers of a search's earlier levels, kept weakly.

    `close` lets their settings be read one by one and shown, but neither walked over, as every scheduler and every step
    does, nor written; `open` puts them back as they were.
    """

    def __init__(self) -> None:
        self._optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def add(self, optimizers: Iterable[Optimizer]) -> None:
        """These belong to a level that is over."""
        self._optimizers.update(optimizers)
        USED.update(optimizers)

    def close(self, level: int) -> None:
        """Forbid their use while that level is open."""
        for one in self._optimizers:
            # Where it is no plain attribute, there is nothing of its own to close.
            if type(groups := one.__dict__.get("param_groups")) is list:
                one.param_groups = _Groups(groups, type(one).__name__, level)

    def open(self) -> None:
        """They are as they were."""
        for one in self._optimizers:
            if isinstance(groups := one.__dict__.get("param_groups"), _Groups):
                one.param_groups = groups.opened()


class _Groups(list[Group]):
    """Parameter groups that know their level; so do those in the optimizer's own list, which a loop may hold."""

    def __init__(self, own: list[Group], name: str, level: int) -> None:
        self._words = f"this {name} belongs to an earlier level, and level {level} is open"
        # An optimizer within another one may have the same list, which is closed already.
        kept = [group.own if isinstance(group, _Group) else group for group in own]
        super().__init__(_Group(group, self._words) for group in kept)
        self._own, self._kept = own, kept
        own[:] = [self[at] for at in range(len(self))]

    def opened(self) -> list[Group]:
        """The optimizer's own list, as it was."""
        self._own[:] = self._kept
        return self._own

    def __iter__(self) -> Iterator[Group]:
        # Showing or saving an optimizer walks over its groups as well, which is harmless.
        return super().__iter__() if sys._getframe(1).f_code.co_name in READERS else _refuse(self._words)


class _Group(dict[str, Any]):
    def __init__(self, own: Group, words: str) -> None:
        super().__init__(own)
        self.own, self._words = own, words

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse(self._words)


def _refuse(words: str) -> NoReturn:
    raise TrainingError(
        f"{words}; every level starts with a fresh optimizer and a fresh scheduler: step level.optimizer, and let "
        "optimizer_fn return (optimizer, scheduler) or make the scheduler of level.optimizer anew in each level"
    )


def used(optimizer: object) -> bool:
    """Whether this is an optimizer that a level had which is over; of a wrapped one, the one inside."""
    return optimizer in USED


USED: weakref.WeakSet[Optimizer] = weakref.WeakSet()
"""Optimizers of levels that are over."""

READERS = ("__repr__", "state_dict")
