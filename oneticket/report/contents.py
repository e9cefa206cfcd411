"""The contents of a report, independent of its format: sentences, and tables with their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from oneticket.claims.claim import Verdict
from oneticket.claims.family import Family, family
from oneticket.lottery.arms import words_of
from oneticket.report.decomposition import decomposition_lines, decomposition_rows, decomposition_tables
from oneticket.report.judged import every_level
from oneticket.report.methods import methods
from oneticket.report.stated import doubts, stated
from oneticket.report.verdict import sentence
from oneticket.stats.decomposition import decompositions
from oneticket.stats.regroup import parts, settled
from oneticket.stats.report_table import ReportTable
from oneticket.stats.sources import source_tables
from oneticket.stats.summary import Row, places, summary
from oneticket.stats.table import lean, tables
from oneticket.stats.words import MISSING, arm_place, counts, percent
from oneticket.study.findings import Findings
from oneticket.ticket.names import naturally

NAMED = 3  # places where trainings stayed at the commonest class
LISTED = 40  # groups of missing cells on the page; the file has every cell


@dataclass(frozen=True, kw_only=True)
class TakenApart:
    """Decompositions into mask and weights, from `report/decomposition`; empty if no arm of the study allows one."""

    lines: tuple[str, ...]
    tables: tuple[ReportTable, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of a report.

    - `done`: how much of the study is trained.
    - `seen`: the result in a sentence, for a study without claims.
    - `every_level`: each claim at each level.
    - `design`: the design that the study stated.
    - `doubts`: a design that was stated after the first rows, and data that sources share with targets.
    - `stayed`: for each arm, how many trainings did no better than the most common class.
    - `tables`, `differences`: scores, and their gain over the dense network; one table per part and setting.
    - `taken_apart`: how much of each ticket's gain over the target's own ticket is due to its mask, and how much to
      its weights.
    - `sources`: tickets found on several sources, beside the best one found on a single source.
    - `figures`: the names of the figures that were asked for.
    """

    title: str
    note: str
    done: str
    seen: str
    verdicts: tuple[Verdict, ...]
    every_level: ReportTable | None
    design: ReportTable | None
    doubts: tuple[str, ...]
    stayed: ReportTable | None
    tables: tuple[ReportTable, ...]
    differences: tuple[ReportTable, ...]
    taken_apart: TakenApart
    sources: tuple[ReportTable, ...]
    missing: ReportTable | None
    methods: tuple[str, ...]
    ledger: ReportTable | None
    figures: tuple[str, ...]


def contents(findings: Findings) -> Contents:
    """The contents of a report on the findings. Raises SpecError as the claims and `tables` do."""
    plan, rows = findings.plan, findings.rows
    found = judged(findings)
    return Contents(
        title=plan.title or plan.name,
        note=plan.note,
        done=_done(findings),
        seen="" if found.verdicts else " ".join(sentence(settled(part)) for part in parts(rows).values()),
        verdicts=found.verdicts,
        every_level=every_level(found.ladder),
        design=stated(findings),
        doubts=doubts(findings),
        stayed=_stayed(rows),
        tables=_tables(rows, tables),
        differences=_tables(rows, partial(tables, show="over-dense")),
        taken_apart=_taken_apart(rows),
        sources=_tables(rows, source_tables),
        missing=_missing(findings.missing),
        methods=methods(findings),
        ledger=_ledger(findings),
        figures=plan.figures,
    )


def judged(findings: Findings) -> Family:
    """The verdicts of a study, judged as its plan states."""
    plan = findings.plan
    return family(findings.rows, plan.claims, margin=plan.margin, stated=plan.densities, complexity=plan.complexity)


def duration(seconds: float | None) -> str:
    """A duration in seconds, minutes or hours; "—" if it is not known.

    >>> duration(45), duration(725), duration(12_240), duration(None)
    ('45 s', '12 min', '3.4 h', '—')
    """
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _done(findings: Findings) -> str:
    trained, lacking = len(findings.rows), len(findings.missing)
    if not trained:
        return f"Nothing is trained yet: all {lacking:,} cells of the study are missing." if lacking else "No cells."
    replicates = len({row["replicate"] for row in findings.rows})
    all_of = f"All {trained:,}" if not lacking else f"{trained:,} of {trained + lacking:,}"
    alone = ", so that no interval can be given and no claim is made" if replicates == 1 else ""
    return f"{all_of} cells of the study are trained; {counts([replicates])}{alone}."


def _tables(rows: Sequence[Row], made: Callable[[list[Row]], list[ReportTable]]) -> tuple[ReportTable, ...]:
    """The tables of every part; parts may have trained the same setting in different ways."""
    several = parts(rows)
    return tuple(
        replace(table, title=f"{part}: {table.title}") if len(several) > 1 else table
        for part, inside in several.items()
        for table in made(settled(inside))
    )


def _taken_apart(rows: Sequence[Row]) -> TakenApart:
    found = decompositions(rows)
    return TakenApart(
        lines=tuple(decomposition_lines(found)),
        tables=decomposition_tables(found),
        rows=tuple(decomposition_rows(found)),
    )


def _stayed(rows: Sequence[Row]) -> ReportTable | None:
    """For every arm, how many trainings did no better than the most common class; None if it is not known of any."""
    known = [one for one in (summary(rows) if rows else []) if one.stayed is not None]
    if not known:
        return None
    where, body = places(known), []
    for arm in sorted({one.line.arm for one in known}, key=arm_place):
        those = [one for one in known if one.line.arm == arm]
        trained, stayed = (
            sum(counts) for counts in zip(*((len(one.values), one.stayed) for one in those), strict=True)
        )
        at = [
            f"{one.stayed} of {len(one.values)} on {where[one.setting]} at {percent(one.density)}"
            for one in sorted(those, key=lambda one: -(one.stayed or 0))
            if one.stayed
        ]
        more = f"; and {len(at) - NAMED} more" if len(at) > NAMED else ""
        body.append((words_of(arm).label, str(trained), str(stayed), "; ".join(at[:NAMED]) + more or MISSING))
    return ReportTable(
        title="Trainings that stayed at the commonest class",
        header=("arm", "trainings", "stayed", "where"),
        rows=tuple(body),
        caption="Trainings whose network is right no more often than one that names the test set's commonest class. "
        "None is left out: a network that does not train is a result.",
    )


def _missing(cells: Sequence[Row]) -> ReportTable | None:
    """The cells that are not trained; cells that differ only in level and replicate share a row."""
    if not cells:
        return None
    groups: dict[tuple[str, ...], list[Row]] = {}
    for cell in cells:
        arm = words_of(cell["arm"]).label
        source, target = (_place(cell, end) for end in ("source", "target"))
        groups.setdefault((_part(cell), cell["model"], source, target, arm), []).append(cell)
    rows = [
        (*group, *(_numbers(cell[name] for cell in alike) for name in ("level", "replicate")), str(len(alike)))
        for group, alike in sorted(groups.items(), key=lambda each: naturally(each[0]))
    ]
    kinds = f"; {LISTED} of {len(rows)} kinds are listed" if len(rows) > LISTED else ""
    table = ReportTable(
        title="Cells that are not trained",
        header=("part", "model", "source", "target", "arm", "levels", "replicates", "cells"),
        rows=tuple(rows[:LISTED]),
        caption=f"{len(cells):,} cells{kinds}; missing.csv has every one.",
    )
    return lean(table)


def _part(cell: Row) -> str:
    """A cell's part, with the basis on which it compares sources (equal steps or epochs)."""
    part = cell.get("part") or MISSING
    return f"{part}, equal {cell['equal']}" if cell.get("equal") else part


def _ledger(findings: Findings) -> ReportTable | None:
    """The cost of the searches, and what transfers saved."""
    if not findings.ledger:
        return None
    header = ("found on", "model", "replicates", "levels", "trainings", "steps", "examples", "time")
    rows = [
        (
            _place(search, "source"),
            str(search["model"]),
            *(f"{search[name]:,}" for name in ("replicates", "levels", "trainings", "steps", "examples")),
            duration(search["seconds"]),
            f"{search['transferred']:,}",
            f"{search['searches_saved']:,}",
            duration(search["seconds_saved"]),
        )
        for search in findings.ledger
    ]
    spent, saved = (sum(search[name] or 0 for search in findings.ledger) for name in ("seconds", "seconds_saved"))
    networks = {row["key"]: row["seconds"] or 0 for row in findings.rows}
    table = ReportTable(
        title="What searches cost, and what transfers saved",
        header=(*header, "transferred", "searches saved", "time saved"),
        rows=tuple(rows),
        caption=(
            f"The searches took {duration(spent)} of training in all. The searches that transfers saved would have "
            f"taken {duration(saved)} at the same price. The {len(networks):,} networks of the comparison took "
            f"{duration(sum(networks.values()))}."
        ),
    )
    return lean(table)


def _place(row: Mapping[str, Any], end: str) -> str:
    """The data and optimizer of one end of a cell, such as `digits:a (sgd)`."""
    data, optimizer = row.get(f"{end}_data"), row.get(f"{end}_optimizer")
    return f"{data} ({optimizer})" if data else MISSING


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))


MASK_OR_WEIGHTS = "Mask or weights?"
"""The title under which tickets are taken apart."""

SOURCES = "Sources beside each other"
"""The title under which the tickets of several sources are compared."""
