"""Scores: the results of one ticket's transfers, as plain facts in its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from oneticket.ground.errors import SpecError
from oneticket.lottery.arms import OF_TARGET, WHOLE
from oneticket.stats.stats import Interval
from oneticket.stats.summary import Summary, gain, rank, summary
from oneticket.study.settings import SETTINGS

if TYPE_CHECKING:
    from oneticket.ticket.ticket import Ticket

Row = Mapping[str, Any]


def scores(ticket: Ticket, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One mapping per target and arm: the ticket's score there and that of each arm trained for comparison.

    Fields: `data`, `optimizer`, `arm`, `mean`, `low`, `high` (95 % Student t interval of the mean; None if n is 1),
    `n`, and `difference`: by how much the ticket is better than the arm, paired by replicate, as `mean`, `low`, `high`,
    `n`; None for the ticket itself. `metric`, `unit` and `better` if it is not accuracy. Rows of other tickets and of
    their controls are left out. Raises SpecError if this ticket was not trained in the rows, and for rows of one target
    that were trained differently.
    """
    rows = _beside(ticket, list(rows))
    _check(rows)
    groups: dict[Any, list[Summary]] = {}
    for one in summary(rows):
        groups.setdefault(one.setting, []).append(one)
    made: list[dict[str, Any]] = []
    for setting, there in groups.items():
        own = next((one for one in there if one.line.arm == "ticket"), None)
        if own is None:
            target = f"{setting.data} under {setting.optimizer} ({setting.metric.words})"
            raise SpecError(f"rows of {target}: the ticket itself is not among them")
        for one in sorted(there, key=lambda each: rank(each.line)):
            above = None if one is own else _plain(gain(setting.metric, own.values, one.values).difference)
            label = {"data": setting.data, "optimizer": setting.optimizer, "arm": one.line.arm}
            described = {} if setting.metric.name == "accuracy" else setting.metric.plain()
            sizes = _sizes(rows, setting.data)
            made.append({**label, **described, **_plain(one.score), "difference": above, **sizes})
    return made


def _sizes(rows: Iterable[Row], data: str) -> dict[str, int]:
    """How large a target is, in the fields of the evidence, as far as its rows say."""
    for row in rows:
        if row["target_data"] == data:
            said = {"classes": row.get("target_classes"), "examples": row.get("target_images")}
            return {name: int(value) for name, value in said.items() if value is not None}
    return {}


def _beside(ticket: Ticket, rows: list[Row]) -> list[Row]:
    """The rows of this ticket, and those of the same targets and replicates from its source or from no source."""
    own = [row for row in rows if row["arm"] == "ticket" and row.get("source_id") == ticket.id]
    if not own:
        others = {row.get("source_id") for row in rows if row["arm"] == "ticket"}
        found = ", ".join(sorted(f"{str(other)[:16]}…" if other else "searches" for other in others)) or "none"
        raise SpecError(f"expected rows of transfers of ticket {ticket.id[:16]}…, got rows of: {found}")
    places = {tuple(row.get(name) for name in PLACE) for row in own}
    sources = {tuple(row.get(name) for name in SOURCE) for row in own}
    levels = {row.get("level") for row in own}
    return [
        row
        for row in rows
        if tuple(row.get(name) for name in PLACE) in places
        and (row["arm"] != "ticket" or row.get("source_id") == ticket.id)
        and (row["arm"] in WHOLE or row.get("level") in levels)
        and (not row.get("source_data") or row["arm"] in OF_TARGET or tuple(map(row.get, SOURCE)) in sources)
    ]


def _check(rows: Iterable[Row]) -> None:
    """Refuse rows of one target that were trained differently, since one number would stand for two things."""
    rows = list(rows)
    for name in ("head", "head_start", *SETTINGS, "seed"):
        found: dict[tuple[Any, Any], set[Any]] = {}
        for row in (row for row in rows if name in row):  # earlier versions wrote fewer columns
            found.setdefault((row["target_data"], row["target_optimizer"]), set()).add(row[name])
        for (data, optimizer), values in found.items():
            if len(values) > 1:
                said = " and ".join(sorted(map(str, values)))
                raise SpecError(f"rows of {data} under {optimizer} differ in {name} ({said}): score them one by one")


def target_of(one: Row) -> tuple[str, str]:
    """The target of a score: data and optimizer; SpecError for anything but a score."""
    try:
        return str(one["data"]), str(one["optimizer"])
    except (KeyError, TypeError):
        raise SpecError(f"scores: expected data and optimizer, got {one}") from None


def _plain(interval: Interval) -> dict[str, Any]:
    return {name: getattr(interval, name) for name in ("mean", "low", "high", "n")}


PLACE = ("target_data", "target_optimizer", "replicate")
SOURCE = ("source_data", "source_optimizer")
