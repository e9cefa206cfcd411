"""Gaps: the cells of a study that are not trained, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oneticket.lottery.arms import words_of
from oneticket.stats.summary import Row
from oneticket.stats.words import arm_place

NAMED = 4


def gaps(missing: Iterable[Row]) -> list[str]:
    """Which arms lack how many networks at which levels: a few of them by name, and how many more there are.

    >>> row = {"arm": "reinit", "level": 20, "source_data": "svhn", "source_optimizer": "sgd"}
    >>> gaps([{**row, "replicate": 0}, {**row, "replicate": 2}])
    ['Missing: new weights, same mask at level 20 (2 networks).']
    """
    found: dict[tuple[str, int], set[Any]] = {}
    for row in missing:
        network = (row.get("source_data"), row.get("source_optimizer"), row["replicate"])
        found.setdefault((row["arm"], row["level"]), set()).add(network)
    said = []
    for (arm, level), networks in sorted(found.items(), key=lambda each: (arm_place(each[0][0]), each[0][1])):
        at = f" at level {level}" if level else ""
        said.append(f"{words_of(arm).label}{at} ({len(networks)} network{'s' * (len(networks) > 1)})")
    more = [f"and {len(said) - NAMED} more"] if len(said) > NAMED else []
    return [f"Missing: {'; '.join(said[:NAMED] + more)}."] if said else []


def missing_in_all(missing: Sequence[Row], trained: Sequence[Row]) -> str:
    """How many of the cells asked for are not trained; nothing where all are."""
    if not missing:
        return ""
    return f"{len(missing)} of {len(missing) + len(trained)} cells asked for are not trained, and missing here."
