"""The rivals of a ticket: the networks it is compared with, at the sparsest level that all of them have, in a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from oneticket.ground.metric import Metric
from oneticket.lottery.arms import ARMS, WHOLE, words_of
from oneticket.stats.regroup import settled
from oneticket.stats.report_table import ReportTable
from oneticket.stats.summary import Line, Row, Summary, over, places, summary
from oneticket.stats.words import MISSING, percent, within

USUAL = ("own", "reinit", "layerwise-random", "global-random", "dense")
"""The arms that answer the usual questions. Arms that separate mask from weights are in `report/decomposition`."""


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """A ticket at one level and the networks it is compared with, the dense ones last.

    `shown` are the networks that sentences and tables name: all of them if they are no more than `USUAL`, else the
    usual ones and the user's own controls. `others` is the number of the rest. `lacking` are arms that were not
    trained at this level.
    """

    ticket: Summary
    shown: tuple[Summary, ...]
    others: int
    lacking: tuple[str, ...]
    dense: bool


def rivals(block: Sequence[Summary]) -> list[Rivals]:
    """The rivals of each ticket of one setting, at the sparsest level that the ticket and its controls share."""
    return [_of(line, block) for line in dict.fromkeys(one.line for one in block if one.line.arm == "ticket")]


def rival_tables(rows: Iterable[Row]) -> list[ReportTable]:
    """The observed results, as a table for each metric: a row for each ticket, a column for each rival.

    A cell is the ticket's gain over the rival: the mean paired difference with its 95 % Student t interval. Raises
    SpecError as `summary` does.

    >>> row = {"model": "m", "target_data": "b", "target_optimizer": "sgd"}
    >>> found = {"source_data": "a", "source_optimizer": "sgd", "level": 1, "density": 0.8, "arm": "ticket"}
    >>> rows = [
    ...     one for n in (0, 1) for one in (
    ...         {**row, "arm": "dense", "level": 0, "density": 1.0, "replicate": n, "score": 0.9},
    ...         {**row, **found, "replicate": n, "score": 0.92 + n / 100})]
    >>> rival_tables(rows)[0].header
    ('on', 'ticket from', 'accuracy (%)', 'minus dense')
    >>> rival_tables(rows)[0].rows
    (('b under sgd', 'a (sgd)', '92.5 [86.1, 98.9]', '+2.5 [−3.9, 8.9]'),)
    """
    summaries = summary(settled(rows))
    where = places(summaries)
    by_metric: dict[Metric, list[Rivals]] = {}
    for setting, block in groupby(summaries, key=lambda one: one.setting):
        by_metric.setdefault(setting.metric, []).extend(rivals([*block]))
    several = len({setting.model for setting in where}) > 1
    return [
        _table(found, metric, [where[one.ticket.setting] for one in found], models=several)
        for metric, found in by_metric.items()
        if found
    ]


def name(rival: Summary) -> str:
    """The arm of a rival; a ticket that was found on the target itself counts as "own"."""
    return "own" if rival.is_own_ticket else rival.line.arm


def _of(line: Line, block: Sequence[Summary]) -> Rivals:
    levels: dict[Line, set[int]] = {}
    for one in block:
        if one.line == line or (_controls(one, line) and one.line.arm not in WHOLE):
            levels.setdefault(one.line, set()).add(one.level)
    level = max(set.intersection(*levels.values()) or levels[line])
    whole = [Line(arm="dense-rewound", data=line.data, optimizer=line.optimizer), Line(arm="dense")]
    at = {one.line: one for one in block if one.level == level or one.line in whole}
    own = {one.line for one in block if one.is_own_ticket}
    # The controls in their usual order, then the dense networks.
    found = [at[other] for other in (*levels, *whole) if other in at and other != line]
    few = len(found) <= len(USUAL)
    shown = [one for one in found if few or name(one) in USUAL or name(one) not in ARMS]
    return Rivals(
        ticket=at[line],
        shown=tuple(shown),
        others=len(found) - len(shown),
        lacking=tuple("own" if other in own else other.arm for other in levels if other not in at),
        dense=Line(arm="dense") in at,
    )


def _controls(other: Summary, ticket: Line) -> bool:
    """Whether a line is a control of this ticket or of all tickets, or the target's own ticket, if that is another."""
    line = other.line
    if other.is_own_ticket:
        return line.source != ticket.source
    return line.arm not in ("dense", "ticket") and line.source in ("", ticket.source)


def _table(found: Sequence[Rivals], metric: Metric, where: Sequence[str], *, models: bool) -> ReportTable:
    arms = list(dict.fromkeys(arm for arm in (*USUAL, *(name(one) for each in found for one in each.shown))))
    columns = [arm for arm in arms if any(name(one) == arm for each in found for one in each.shown)]
    rows = []
    for one, place in zip(found, where, strict=True):
        ticket = one.ticket
        cells = {name(rival): _cell(ticket, rival) for rival in one.shown}
        place = f"{place} ({ticket.setting.model})" if models else place
        start = place, ticket.line.source or MISSING, percent(ticket.density)
        rows.append((*start, within(ticket.score, metric), *(cells.get(arm, MISSING) for arm in columns)))
    ns = sorted({one.ticket.score.n for one in found})
    said = f"n = {ns[0]}" if len(ns) == 1 else f"n = {ns[0]} to {ns[-1]}"
    same = len({row[2] for row in rows}) == 1
    header = ("on", "ticket from", "weights kept", metric.heading, *(f"minus {words_of(arm).label}" for arm in columns))
    if same:
        header, rows = (*header[:2], *header[3:]), [(*row[:2], *row[3:]) for row in rows]
    return ReportTable(
        title=f"Tickets of {percent(found[0].ticket.density)} of the weights" if same else "Tickets by their density",
        header=header,
        rows=tuple(rows),
        caption=f"The ticket's {metric.words} and its gain over the network of each column, in {metric.units}: mean "
        f"paired difference with its 95 % Student t interval, not adjusted for their number; {said} replicates.",
    )


def _cell(ticket: Summary, rival: Summary) -> str:
    compared = over(ticket, rival)
    if compared is None:
        return MISSING
    n = compared.difference.n
    alone = f" (n = {n})" if 1 < n != ticket.score.n else ""
    return within(compared.difference, ticket.setting.metric, signed=True) + alone
