"""Summaries: the replicates of one arm at one level, in one setting of the grid."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oneticket.ground.errors import SpecError
from oneticket.ground.metric import Metric, score_of
from oneticket.lottery.arms import ARMS, words_of
from oneticket.stats.settings import same
from oneticket.stats.stats import Interval, Paired, mean_interval, paired
from oneticket.stats.words import arm_place
from oneticket.study.settings import SETTINGS
from oneticket.ticket.names import natural, naturally

Row = Mapping[str, Any]

NOISE = 1e-9  # shares of equal counts may differ by rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where networks are trained and how they are measured: only networks of one setting are compared.

    `part`: set where parts of a study differ. `equal`: at equal `epochs` or `steps` of the sources, if both were run.
    """

    model: str
    data: str
    optimizer: str
    head: str | None
    metric: Metric
    part: str | None = None
    equal: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An arm and the source of its ticket: one line over the levels. Some arms have no source."""

    arm: str
    data: str | None = None
    optimizer: str | None = None

    @property
    def source(self) -> str:
        """Such as `digits:a (sgd)`; empty without a known source."""
        return "" if self.data is None else f"{self.data} ({self.optimizer})"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One arm at one level: its mean density, and its score in the setting's metric, with interval.

    `values`: score by replicate. `over_dense`: the paired gain over the dense network, above 0 where better; None for
    the dense network itself, and without common replicates. `remaining`: mean number of remaining weights, if known.
    `stayed`: how many trainings did not beat the commonest class, None if unknown. `row`: one of its rows, for the
    values that all of them share.
    """

    setting: Setting
    line: Line
    level: int
    density: float
    values: Mapping[int, float]
    score: Interval
    over_dense: Paired | None
    remaining: float | None = None
    stayed: int | None = None
    row: Row = field(compare=False)

    @property
    def is_own_ticket(self) -> bool:
        """Whether this is the target's own ticket."""
        return is_own_ticket(self.row)


def summary(rows: Iterable[Row]) -> list[Summary]:
    """One summary per setting, line and level, in an order that does not depend on that of the rows.

    A row that occurs twice (equal, or with the same `key`, as in two parts of a study) counts once. Where parts have
    different networks for one replicate, their settings are kept apart by part. Raises SpecError for no rows, an
    unknown arm, a score outside its metric's bounds, or two different networks for one replicate of a summary.

    >>> row = {"model": "lenet-300-100", "target_data": "digits:b", "target_optimizer": "sgd", "replicate": 0}
    >>> dense = {**row, "arm": "dense", "level": 0, "density": 1.0, "accuracy": 0.97}
    >>> found = {"source_data": "digits:a", "source_optimizer": "sgd", "level": 20, "density": 0.012, "accuracy": 0.95}
    >>> last = summary([dense, {**row, **found, "arm": "ticket"}])[-1]
    >>> last.line.source, round(last.over_dense.difference.mean, 2)
    ('digits:a (sgd)', -0.02)
    """
    rows = filled(rows)
    for row in rows:
        _check(row)
    if not rows:
        raise SpecError("expected rows of trained networks, got none; run the study first")
    apart, settings = _apart(rows), [setting_of(row) for row in rows]
    settings = [
        replace(one, part=row.get("part")) if one in apart else one for row, one in zip(rows, settings, strict=True)
    ]
    transferred = {
        setting
        for row, setting in zip(rows, settings, strict=True)
        if row["arm"] == "dense" and row.get("source_data") is None
    }
    groups: dict[tuple[Setting, Line, int], dict[int, Row]] = {}
    for row, setting in zip(rows, settings, strict=True):
        line = _line(row, alone=setting not in transferred)
        _add(groups.setdefault((setting, line, row["level"]), {}), row)
    values = {at: {replicate: _score(row) for replicate, row in sorted(groups[at].items())} for at in groups}
    summaries = []
    for (setting, line, level), scores in values.items():
        dense = values.get((setting, Line(arm="dense"), 0), {})
        compared, group = line.arm != "dense" and dense.keys() & scores.keys(), groups[setting, line, level]
        one = Summary(
            setting=setting,
            line=line,
            level=level,
            density=statistics.fmean(row["density"] for row in group.values()),
            values=scores,
            score=mean_interval(scores.values()),
            over_dense=gain(setting.metric, scores, dense) if compared else None,
            remaining=_remaining(group.values()),
            stayed=_stayed(group.values()),
            row=group[min(group)],
        )
        summaries.append(one)
    return sorted(summaries, key=_order)


def filled(rows: Iterable[Row]) -> list[Row]:
    """The rows with None instead of the NaN that tables give for an empty cell.

    >>> filled([{"equal": float("nan"), "level": 1}])
    [{'equal': None, 'level': 1}]
    """
    rows = list(rows)
    for at, row in enumerate(rows):
        if any(value != value for value in row.values()):
            rows[at] = {name: None if value != value else value for name, value in row.items()}
    return rows


def natural_zeros(rows: Iterable[Row]) -> dict[Setting, float]:
    """The share of weights that training alone brought to zero in each setting's dense networks, if measured."""
    found: dict[Setting, dict[int, float]] = {}
    for row in filled(rows):
        if row["arm"] == "dense" and row.get("natural_zeros") is not None:
            found.setdefault(setting_of(row), {})[row["replicate"]] = row["natural_zeros"]
    return {setting: statistics.fmean(zeros.values()) for setting, zeros in found.items()}


def setting_of(row: Row) -> Setting:
    """The setting in which a row's network was trained."""
    place = {"model": row["model"], "data": row["target_data"], "optimizer": row["target_optimizer"]}
    return Setting(**place, head=row.get("head"), metric=Metric.of(row), equal=row.get("equal"))


def is_own_ticket(row: Row) -> bool:
    """Whether a row is of the target's own ticket: the arm `own`, or a ticket that was found where it is trained.

    That is: its search had all the settings of the training, the length included.
    """
    here = row.get("source_data") == row["target_data"] and same(row, SETTINGS)
    return row["arm"] == "own" or (row["arm"] == "ticket" and here)


def stays(row: Row) -> bool | None:
    """Whether a training did not beat the commonest class of the test set; None if unknown."""
    commonest = row.get("commonest")
    if commonest is None or math.isnan(commonest) or Metric.of(row).name != "accuracy":
        return None
    return bool(_score(row) <= commonest + NOISE)


def over(a: Summary, b: Summary) -> Paired | None:
    """By how much a is better than b, over their common replicates; None without any."""
    return gain(a.setting.metric, a.values, b.values) if a.values.keys() & b.values.keys() else None


def gain(metric: Metric, scores: Mapping[int, float], others: Mapping[int, float]) -> Paired:
    """By how much scores are better than others, paired by replicate; above 0 they are better.

    Raises SpecError as `paired` does.
    """
    return paired(scores, others) if metric.larger else paired(others, scores)


def places(summaries: Iterable[Summary]) -> dict[Setting, str]:
    """The name of each setting, such as `digits:b under sgd`, with its head if several are shown together."""
    settings = list(dict.fromkeys(one.setting for one in summaries))
    called = {}
    for setting in settings:
        heads = {other.head for other in settings if replace(other, head=setting.head, part=setting.part) == setting}
        head = f" ({setting.head} head)" if len(heads) > 1 else ""
        part = f" in {setting.part}" if setting.part else ""
        equal = f" at equal {setting.equal}" if setting.equal else ""
        called[setting] = f"{setting.data} under {setting.optimizer}{head}{part}{equal}"
    return called


def labels(summaries: Iterable[Summary]) -> dict[Line, str]:
    """The name of each line, in order; controls name their source only if several are shown together."""
    lines = sorted({one.line for one in summaries}, key=rank)
    several = len({line.source for line in lines if line.source and line.arm not in ("dense", "own")}) > 1
    called = {}
    for line in lines:
        said = line.source and (line.arm == "ticket" or (several and line.arm not in ("dense", "own")))
        called[line] = words_of(line.arm).label + (f" from {line.source}" if said else "")
        if line.arm == "dense" and line.source:
            called[line] += " in the search"
    return called


def _check(row: Row) -> None:
    ARMS.known(row["arm"])
    metric, score = Metric.of(row), score_of(row)
    if score is None or not math.isfinite(score) or metric.clipped(score) != score:
        ends = [f"{end:g}" for end in (metric.low, metric.high) if end is not None]
        expected = " to ".join(ends) + (" or more" if len(ends) == 1 else "") or "a finite number"
        raise SpecError(f"{metric.name} of {_where(row)}: expected {expected}, got {score}; leave it out and say so")


def _score(row: Row) -> float:
    score = score_of(row)
    assert score is not None  # `_check` has checked it
    return score


def _apart(rows: Iterable[Row]) -> set[Setting]:
    """The settings in which parts of a study have different networks for one replicate of one line and level."""
    found: dict[tuple[Any, ...], dict[Any, set[Any]]] = {}
    for row in rows:
        at = (setting_of(row), _line(row, alone=False), row["level"], row["replicate"])
        found.setdefault(at, {}).setdefault(row.get("key"), set()).add(row.get("part"))
    return {setting for (setting, *_), keys in found.items() if len(keys) > 1 and len(set.union(*keys.values())) > 1}


def _remaining(rows: Iterable[Row]) -> float | None:
    known = [row["living"] for row in rows if row.get("living") is not None]
    return statistics.fmean(known) if known else None


def _stayed(rows: Iterable[Row]) -> int | None:
    found = [stays(row) for row in rows]
    return sum(map(bool, found)) if None not in found else None


def _line(row: Row, *, alone: bool) -> Line:
    """The dense network of a search is its setting's dense network, unless transfers trained another there."""
    if row["arm"] == "dense" and alone:
        return Line(arm="dense")
    return Line(arm=row["arm"], data=row.get("source_data"), optimizer=row.get("source_optimizer"))


def _add(group: dict[int, Row], row: Row) -> None:
    held = group.setdefault(row["replicate"], row)
    differ = sorted(name for name in held.keys() | row.keys() if not _alike(held.get(name), row.get(name)))
    if differ and (row.get("key") is None or held.get("key") != row["key"]):
        raise SpecError(
            f"two networks for {_where(row)} on {row['target_data']} under {row['target_optimizer']}; "
            f"they differ in {', '.join(differ)}: report them apart"
        )


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are equal, or both the NaN that tables give for an empty cell."""
    return bool(one == other) or (one != one and other != other)


def _where(row: Row) -> str:
    return f"{row['arm']}, level {row['level']}, replicate {row['replicate']}"


def _order(one: Summary) -> tuple[Any, ...]:
    setting = one.setting
    place = (setting.model, setting.data, setting.optimizer, setting.head, setting.part, setting.equal)
    return naturally((*place, setting.metric.name)), rank(one.line), one.level


def rank(line: Line) -> tuple[int, str, list[tuple[int, str]]]:
    """The place of a line in tables and legends: arms in their usual order, sources by name, 20 before 100."""
    return *arm_place(line.arm), natural(line.source)
