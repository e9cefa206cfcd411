"""`oneticket study` and `report`: a whole study, what it will cost, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from oneticket.cli import store as store_commands
from oneticket.cli.find import make_folder
from oneticket.cli.mistakes import exit_code
from oneticket.cli.parameters import How
from oneticket.cli.session import run_steps
from oneticket.cli.study_status import parts_of, published, tell_changes, tell_published
from oneticket.cli.tables import print_table
from oneticket.engine.engine import Engine, at_once
from oneticket.ground import clock
from oneticket.ground.allocator import uncollected
from oneticket.ground.errors import SpecError
from oneticket.ground.phase import phase
from oneticket.lottery.run_context import RunContext
from oneticket.session.called import called
from oneticket.session.study import check_tables
from oneticket.session.terminal import say, say_json, tell
from oneticket.stats.report_table import ReportTable
from oneticket.stats.words import listed
from oneticket.store.store import Store
from oneticket.study.design import keep_study
from oneticket.study.estimate import Estimate, estimate
from oneticket.study.grid import Plan
from oneticket.study.replicates import of_replicates
from oneticket.study.resolve import plan_of


def study(
    name: str,
    *,
    engine: Engine,
    dry_run: bool,
    replicates: str | None,
    json: bool,
    price: float | None,
    measure: bool,
    track: Sequence[str],
    how: How,
    store: str,
    quiet: bool,
) -> int:
    """Run the unfinished steps of a study, or of some replicates, or print what they would cost."""
    if json and not dry_run:
        raise SpecError("--json: goes with --dry-run")
    kept = Store(store)
    context = how.context(pretend=dry_run, unread=dry_run and not kept.keys())
    with phase("planning"), uncollected():
        plan = plan_of(name, context)
    context = replace(context, threads=how.threads or plan.threads)
    check_tables(plan)
    for doubt in plan.doubts:
        tell(doubt, style="yellow", quiet=quiet or json)
    asked = of_replicates(plan, replicates, dashes="--")
    if dry_run:
        with kept.indexed(), uncollected():
            _foresee(asked, kept, context, engine, price, json=json, measure=measure)
        return 0
    if price is not None:
        raise SpecError("--price: goes with --dry-run")
    if measure:
        raise SpecError("--measure: goes with --dry-run")
    tell_changes(plan.steps, kept)
    keep_study(plan, kept)  # the whole study, whichever part of it runs here
    steps = [cell.step for cell in asked.cells]
    names = called(asked.cells, places=True)
    piles = run_steps(
        steps, store=kept, context=context, quiet=quiet, engine=engine, track=track, each=True, names=names
    )
    if not (quiet or piles.failed):
        say(f"`oneticket report {name} --out report` writes its report")
    return exit_code(error for _, error in piles.failed)


def report(name: str, *, out: Path, show: bool, store: str) -> int:
    """Write the report of a study's finished steps, and print its place and the verdicts."""
    from oneticket.cli.browser import NO_BROWSER, graphical_browser
    from oneticket.report.contents import judged
    from oneticket.report.page import write_report
    from oneticket.report.stated import doubts
    from oneticket.study.findings import findings

    context = RunContext(pretend=True)
    with phase("planning"):
        plan = plan_of(name, context)
    make_folder(out)
    tell_changes(plan.steps, Store(store))
    found = findings(plan, Store(store))
    written = write_report(found, out)
    for verdict in judged(found).verdicts:
        say(f"{verdict.name}: {verdict.outcome}. {verdict.statement}")
    for doubt in doubts(found):
        tell(doubt, style="yellow")
    missing = f"; {len(found.missing)} of {len(plan.cells)} cells are not trained yet" if found.missing else ""
    say(f"{len(written)} files, {out / 'report.html'} first{missing}")
    if show:
        page, browser = (out / "report.html").resolve().as_uri(), graphical_browser()
        if browser is None:
            tell(f"{NO_BROWSER}; open {page} yourself")
        else:
            browser.open(page)
    return 0


def clear(names: Sequence[str], *, dry_run: bool, store: str) -> int:
    """Clear a store up, keeping what these studies need; without any, all outcomes stay."""
    keep: set[str] | None = None
    for name in names:
        context = RunContext(pretend=True)
        plan = plan_of(name, context)
        if context.absent:
            raise SpecError(
                f"--keep {name}: its steps cannot be planned without {listed(sorted(context.absent))}; make that data "
                "available"
            )
        keep = (keep or set()) | {step.key for step in plan.steps}
    return store_commands.gc(store=store, keep=keep, dry_run=dry_run)


def _foresee(
    plan: Plan, store: Store, context: RunContext, engine: Engine, price: float | None, *, json: bool, measure: bool
) -> None:
    """Print steps, trainings, what is there already, and the time that the rest may take."""
    paces: dict[str, float | None] = {}
    kinds: dict[str, Any] = {}
    rows, parts = [], []
    for part, cells in [*parts_of(plan), ("all", plan.cells)]:
        one = estimate(
            [cell.step for cell in cells], store=store, context=context, paces=paces, kinds=kinds, measure=measure
        )
        counts = map(str, (len(cells), one.steps, one.trainings, one.kept, one.to_do))
        parts.append({"part": part, "cells": len(cells), **asdict(one), "to_do": one.to_do})
        rows.append((part, *counts, f"{one.updates:,}", _time(one)))
    if json:
        side = at_once([cell.step for cell in plan.cells], store=store, context=context, engine=engine)
        say_json({"study": plan.name, "store": store.url, "at_once": side, **published(context), "parts": parts})
        return
    table = ReportTable(
        title=f"{plan.name}: what there is to do, in {store.url}",
        header=("part", "cells", "steps", "trainings", "stored", "to do", "updates", "time"),
        rows=tuple(rows),
        caption="Updates: optimizer steps to do. Time: one training after the other, as similar ones took "
        "in the store, or here with --measure; in brackets how many trainings have no known time. Steps that several "
        "parts share count in each part, and once in all.",
    )
    print_table(table)
    for line in context.said_of_data():
        tell(line)
    tell_published(context)
    side = at_once([cell.step for cell in plan.cells], store=store, context=context, engine=engine)
    where = "in this process" if side == 1 else f"{side} at once on this machine"
    wall = one.seconds / side
    cost = f", {price * wall / 3600:.2f} at {price:g} an hour" if price is not None else ""
    unknown = f", and {one.unknown} trainings whose time is not known" if one.unknown else ""
    if not one.to_do:
        say("all of it is done")
        return
    if one.unknown and not measure:
        say("--measure times a few updates of each kind of training whose time is not known")
    if one.unknown and not one.seconds:
        say(f"{where}: the time is not known yet")
        return
    say(f"{where}: about {clock.spoken(wall)}{cost}{unknown}")


def _time(one: Estimate) -> str:
    unknown = f"not known ({one.unknown})" if one.unknown else ""
    return " + ".join(
        part for part in (clock.spoken(one.seconds) if one.seconds or not unknown else "", unknown) if part
    )
