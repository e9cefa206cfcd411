"""Settings: whether a ticket is trained as it was found, from what a row says of both trainings.

Numbers are compared as numbers, and times in steps: `8ep` and `1250it` are one where an epoch has so many steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.ground.errors import SpecError
from oneticket.ground.when import When
from oneticket.study.settings import SETTINGS, TIMES

Row = Mapping[str, Any]

TRAINING = tuple(name for name in SETTINGS if name != "budget")
"""The columns of the whole training except its length."""


def differing(row: Row, names: Iterable[str] = TRAINING) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from those with which the ticket was found: name -> (then, now).

    Empty if the row, as in an earlier version, does not hold both.

    >>> row = {"source_optimizer_name": "sgd", "optimizer_name": "sgd", "source_lr": 0.1, "lr": 0.001}
    >>> differing(row)
    {'lr': (0.1, 0.001)}
    """
    pairs = {name: (_plain(row.get(f"source_{name}")), _plain(row.get(name))) for name in names} if known(row) else {}
    return {name: (then, now) for name, (then, now) in pairs.items() if then != now and not _alike(row, name)}


def same(row: Row, names: Iterable[str] = TRAINING) -> bool:
    """Whether those settings are equal to those with which the ticket was found; by the study's labels if unknown."""
    return not differing(row, names) if known(row) else row.get("source_optimizer") == row.get("target_optimizer")


def renamed(row: Row) -> bool:
    """Whether the ticket was found by an optimizer of another name; by the study's labels if unknown."""
    return "optimizer_name" in differing(row) if known(row) else not same(row)


def known(row: Row) -> bool:
    """Whether the row holds the settings with which its ticket was found, and those with which it is trained."""
    return all(_plain(row.get(name)) is not None for name in ("source_optimizer_name", "optimizer_name"))


def changes(row: Row, names: Iterable[str] = TRAINING) -> str:
    """The settings that differ, in words.

    >>> row = {"source_optimizer_name": "sgd", "optimizer_name": "sgd", "source_lr": 0.1, "lr": 0.001}
    >>> changes({**row, "source_clip": None, "clip": 1.0})
    'lr 0.1 then, 0.001 now; clip none then, 1.0 now'
    """
    return "; ".join(
        f"{name} {_word(then)} then, {_word(now)} now" for name, (then, now) in differing(row, names).items()
    )


def _alike(row: Row, name: str) -> bool:
    """Whether a setting that is written in two ways means the same number, numbers, or steps."""
    then, now = (_meant(row, name, end) for end in ("source_", ""))
    return then is not None and then == now


def _meant(row: Row, name: str, end: str) -> tuple[float, ...] | None:
    """The numbers that a setting is, of times their steps; empty for nothing, None for what is no number."""
    value = _plain(row.get(f"{end}{name}"))
    parts = value if isinstance(value, list) else [] if value in (None, "") else str(value).split(",")
    try:
        return tuple(_steps(row, str(part), end) if name in TIMES else float(part) for part in parts)
    except (ValueError, SpecError):
        return None


def _steps(row: Row, time: str, end: str) -> int:
    """A time in steps; ValueError where it is in epochs, and the row does not say how many steps an epoch has."""
    when = When.parse(time)
    if when.unit == "it" or not when.count:
        return when.count
    images, batch = (_plain(row.get(column)) for column in (f"{end or 'target_'}images", f"{end}batch"))
    if images is None or not batch:
        raise ValueError(f"{time}: the steps of an epoch are not known")
    return when.steps(max(1, int(images) // int(batch)))


def _plain(value: Any) -> Any:
    """A list for a tuple, and None for the NaN that tables give for an empty cell."""
    value = list(value) if isinstance(value, tuple) else value
    return None if isinstance(value, float) and value != value else value


def _word(value: Any) -> str:
    return "none" if value in (None, []) else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
