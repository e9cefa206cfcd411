"""The cards that a notebook shows for rows and for a study that was run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneticket.ground.card import Card, Grid
from oneticket.report.judged import short
from oneticket.report.verdict import sentence
from oneticket.stats.regroup import settled
from oneticket.stats.report_table import ReportTable
from oneticket.stats.table import tables
from oneticket.study.rows import Rows

if TYPE_CHECKING:
    from oneticket.session.study import StudyRun

MOST = 4  # tables


def of_rows(rows: Rows) -> Card:
    """The card of rows: arms and densities with their intervals and n, and the result in a sentence."""
    if not rows:
        return Card(title="Rows", notes=["There are none: no network is trained."])
    found = tables(settled(rows))
    notes = [sentence(rows)]
    if len(found) > MOST:
        notes.append(f"{len(found) - MOST} more tables are not shown; table() has all rows.")
    title = f"{len(rows):,} trained network{'' if len(rows) == 1 else 's'}"
    return Card(title=title, parts=[_grid(table) for table in found[:MOST]], notes=notes)


def of_run(run: StudyRun) -> Card:
    """The card of a study: how much of it is trained, and its verdicts."""
    plan, rows, verdicts = run.plan, run.rows, run.verdicts
    facts = [
        ("title", plan.title),
        ("trained", f"{len(rows)} of {len(plan.cells)} networks"),
        ("this run", f"{run.done:,} steps done, {run.reused:,} found in the store"),
    ]
    outcomes = [(f"{each.name}: {each.outcome}", f"{each.statement} {short(each)}") for each in verdicts]
    failed = [(f"failed {number}", why) for number, why in enumerate(run.failed, 1)]
    notes = [] if verdicts or not rows else [sentence(rows)]
    return Card(title=f"Study {plan.name}", facts=[*facts, *failed, *outcomes], notes=notes)


def _grid(table: ReportTable) -> Grid:
    return Grid(title=table.title, header=table.header, rows=table.rows, caption=table.caption)
