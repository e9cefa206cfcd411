"""`oneticket status`: how far a study is, who is at it, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from oneticket.cli.tables import print_table
from oneticket.ground.allocator import uncollected
from oneticket.ground.phase import phase
from oneticket.lottery.run_context import RunContext
from oneticket.session.called import Called, called
from oneticket.session.terminal import say, say_json, tell
from oneticket.stats.report_table import ReportTable
from oneticket.stats.words import listed
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.cells import Cell
from oneticket.study.described import describe
from oneticket.study.grid import Plan
from oneticket.study.plan import closure
from oneticket.study.resolve import plan_of
from oneticket.study.stale_data import changes


def status(name: str, *, json: bool, store: str) -> int:
    """Print how far a study is, who is at it, and what failed."""
    kept = Store(store)
    with phase("planning"), uncollected():
        context = RunContext(pretend=True, unread=not kept.keys())
        plan = plan_of(name, context)
        everything = plan.steps
    with kept.indexed(), uncollected():
        tell_changes(everything, kept)
        there, held, failed = kept.there(step.key for step in everything), kept.claims.holders(), kept.failures()

    def state(step: Step) -> str:
        marks = (("done", there), ("under way", held), ("failed", failed))
        return next((word for word, keys in marks if step.key in keys), "to do")

    open_steps = [step for step in everything if state(step) in OPEN]
    names = called(plan.cells, places=False) if open_steps else {}

    def said(step: Step) -> str:
        return describe(step, names.get(step.key, Called()).arm)

    def why(step: Step) -> str:
        return str(held.get(step.key) or failed[step.key])

    rows = []
    for part, cells in parts_of(plan):
        steps = closure(cell.step for cell in cells)
        counts = Counter(map(state, steps))
        rows.append((part, str(len(cells)), str(len(steps)), *(str(counts[word]) for word in STATES)))
    counts = Counter(map(state, everything))
    rows.append(("all", str(len(plan.cells)), str(len(everything)), *(str(counts[word]) for word in STATES)))
    if json:
        parts = [{"part": row[0], **dict(zip(COUNTED, map(int, row[1:]), strict=True))} for row in rows]
        listed_steps = [
            {"key": step.key, "what": said(step), "state": state(step), "why": why(step)} for step in open_steps
        ]
        about = {"study": plan.name, "store": kept.url, **published(context)}
        say_json({**about, "parts": parts, "steps": listed_steps})
        return 0
    table = ReportTable(
        title=f"{plan.name} in {kept.url}",
        header=("part", "cells", "steps", *STATES),
        rows=tuple(rows),
        caption="Steps that several parts need are counted in each of them, and once in all.",
    )
    print_table(table)
    tell_published(context)
    for step in open_steps:
        say(f"{state(step)}: {said(step)}: {why(step)}")
    return 0


def published(context: RunContext) -> dict[str, list[str]]:
    """The sets that were planned with as published: those that are `absent`, and those that are `not_read` yet."""
    return {"absent": sorted(context.absent), "not_read": sorted(context.not_read)}


def tell_published(context: RunContext) -> None:
    """Print which sets were planned as published, not as stored here, and why."""
    if context.absent:
        said = listed(sorted(context.absent))
        say(f"not available, and counted as published: {said}; a run needs them (ONETICKET_DATA)")
    if context.not_read:
        say(f"not read yet, and counted as published: {listed(sorted(context.not_read))}")


def tell_changes(steps: Iterable[Step], store: Store) -> None:
    """Print which data of these steps have changed."""
    for line in changes(steps, store):
        tell(line, style="yellow")


def parts_of(plan: Plan) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """The parts of a study by name, each with its cells."""
    for part in dict.fromkeys(cell.part for cell in plan.cells):
        yield part or plan.name, tuple(cell for cell in plan.cells if cell.part == part)


STATES = ("done", "under way", "failed", "to do")
OPEN = STATES[1:3]
COUNTED = ("cells", "steps", *STATES)
