"""Rows grouped in other ways before they are summarised."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from oneticket.ground.errors import SpecError
from oneticket.ground.metric import Metric
from oneticket.stats.summary import Row, filled, is_own_ticket, setting_of
from oneticket.ticket.names import natural


def parts(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows by the part of the study that asked for them, in their order; `""` without parts."""
    made: dict[str, list[Row]] = {}
    for row in filled(rows):
        made.setdefault(row.get("part") or "", []).append(row)
    return made


def sources_of(rows: Iterable[Row]) -> list[str]:
    """The sources of all rows, such as `svhn (sgd)`, sorted by name, so that their colours are always the same."""
    found = [row for row in filled(rows) if row.get("source_data")]
    return sorted({f"{row['source_data']} ({row['source_optimizer']})" for row in found}, key=natural)


def settled(rows: Iterable[Row]) -> list[Row]:
    """The rows with each target's own ticket under one arm: `ticket` if the target is among the sources, else `own`.

    Both then stand for the same network, which counts once.
    """
    rows = filled(rows)
    owned = {setting_of(row) for row in rows if row["arm"] == "ticket" and is_own_ticket(row)}
    return [{**row, "arm": "ticket"} if row["arm"] == "own" and setting_of(row) in owned else row for row in rows]


def same_optimizer(rows: Iterable[Row]) -> list[Row]:
    """The rows of tickets and controls under the optimizer of their source, and of networks without a source."""
    return [row for row in filled(rows) if row.get("source_optimizer") in (None, row["target_optimizer"])]


def pooled(rows: Iterable[Row]) -> list[Row]:
    """The rows averaged over the optimizers of source and target: one per arm, level and replicate.

    Networks without a source, such as the dense network, are averaged over the target's optimizers. Raises SpecError if
    a replicate lacks a combination that another has, since their averages would not be comparable.

    >>> row = {"model": "m", "target_data": "digits:b", "arm": "dense", "level": 0, "density": 1.0, "replicate": 0}
    >>> row |= {"source_data": None, "source_optimizer": None, "head": "fresh"}
    >>> sgd = {**row, "target_optimizer": "sgd", "accuracy": 1}
    >>> adam = {**row, "target_optimizer": "adam", "accuracy": 0}
    >>> [(one["target_optimizer"], one["accuracy"]) for one in pooled([sgd, adam])]
    [('adam and sgd', 0.5)]
    """
    groups: dict[tuple[Any, ...], dict[int, list[Row]]] = {}
    rows = list(
        {
            (row["arm"], row.get("equal"), row.get("key") or number): row for number, row in enumerate(filled(rows))
        }.values()
    )
    grid: dict[str, dict[tuple[Any, ...], set[tuple[str | None, str]]]] = {}
    for row in rows:
        kind = "own" if row["arm"] == "own" else "transferred" if row["source_optimizer"] else "sourceless"
        pair = (row["source_optimizer"], row["target_optimizer"])
        at = (row["replicate"], row["arm"], row["level"], row.get("equal"))
        grid.setdefault(kind, {}).setdefault(at, set()).add(pair)
    for alike in grid.values():
        if len({frozenset(pairs) for pairs in alike.values()}) > 1:
            raise SpecError("not every arm, level and replicate has every combination of optimizers")
    for row in rows:
        kept = ("model", "target_data", "head", "arm", "source_data", "level")
        at = (*(row[name] for name in kept), row.get("equal"), Metric.of(row).name)
        groups.setdefault(at, {}).setdefault(row["replicate"], []).append(row)
    made: list[Row] = []
    for replicates in groups.values():
        for group in replicates.values():
            names = {
                name: " and ".join(sorted({row[name] for row in group if row[name]}, key=natural)) or None
                for name in ("source_optimizer", "target_optimizer")
            }
            means = {
                name: statistics.fmean(row[name] for row in group)
                for name in ("density", "score", "accuracy")
                if group[0].get(name) is not None
            }
            made.append({**group[0], **names, **means, "key": None})
    return made
