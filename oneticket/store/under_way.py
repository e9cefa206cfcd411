"""The content of a claim: who runs the step, and how far its training is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a training is: `position` of `total` optimizer steps of its schedule, of which `start` is the first.

    `losses`: (step, mean loss of the steps up to it). `lr`: the learning rate; `seconds`: how long it took so far.
    """

    position: int
    start: int
    total: int
    losses: tuple[tuple[int, float], ...]
    lr: float
    seconds: float

    @property
    def share(self) -> float:
        """The part of its steps that is done."""
        return (self.position - self.start) / max(self.total - self.start, 1)


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """Somebody who runs a step. `position` is None if unknown: before training, and for several ranks."""

    who: str
    position: Position | None = None

    def __str__(self) -> str:
        at = self.position
        return f"{self.who}, step {at.position:,} of {at.total:,}" if at else self.who


def under_way(said: Mapping[str, Any]) -> UnderWay:
    """The content of a claim; an impossible position is left out.

    >>> str(under_way({"host": "here", "pid": 7}))
    'here, process 7'
    >>> given = {"position": 9, "start": 5, "total": 10, "each": 2, "losses": [0.5, None], "lr": 0.1, "seconds": 2}
    >>> at = under_way({"host": "here", "pid": 7, "training": given}).position
    >>> at.losses, at.share
    (((7, 0.5),), 0.8)
    """
    who = f"{said.get('host', 'unknown')}, process {said.get('pid', 'unknown')}"
    try:
        return UnderWay(who=who, position=_position(said["training"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return UnderWay(who=who)


MOST = 2**53
"""Steps of a training that a page can still draw: whole numbers that a float holds."""


def _position(given: Mapping[str, Any]) -> Position:
    """Raises KeyError, TypeError or ValueError for anything but the report of a training."""
    position, start, total, each = (int(given[name]) for name in ("position", "start", "total", "each"))
    lr, seconds = float(given["lr"]), float(given["seconds"])
    if not (0 <= start <= position <= total < MOST and each > 0 and math.isfinite(lr) and 0 <= seconds < math.inf):
        raise ValueError("no position of a training")
    means = [(start + each * number, mean) for number, mean in enumerate(given["losses"], 1)]
    losses = tuple((at, float(mean)) for at, mean in means if mean is not None and math.isfinite(mean) and at <= total)
    return Position(position=position, start=start, total=total, losses=losses, lr=lr, seconds=seconds)
