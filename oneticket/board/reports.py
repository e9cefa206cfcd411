"""The reports of studies as they fill: verdicts and figures, updated in the background when more is trained."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from oneticket.board.view import StoreView
from oneticket.charts.figures import HERO, Figure, figure_named
from oneticket.charts.picture import Picture, picture
from oneticket.claims.claim import Verdict
from oneticket.ground import clock
from oneticket.ground.errors import OneticketError
from oneticket.lottery.run_context import RunContext
from oneticket.report.contents import judged
from oneticket.store.store import Store
from oneticket.study.findings import Findings, findings
from oneticket.study.grid import Plan
from oneticket.study.resolve import plan_of

ASKED, SHARE, PAUSE = 30.0, 0.1, 0.5
"""Seconds for which a study is followed that a page was asked for; the largest part of the time; between two looks."""

PATIENCE = 2.0
"""Seconds that the end of the board waits for a report that is being made."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure, and its picture, or why there is none."""

    figure: Figure
    picture: Picture | None = None
    lacking: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The state of a study's report. It covers `done` of `cells` cells; `doing` says what is being made now.

    `figures`: the one that stands under the verdicts, then those that the study asks for.
    """

    plan: Plan | None = None
    done: int = -1
    cells: int = 0
    verdicts: Sequence[Verdict] = ()
    figures: Sequence[Drawn] = ()
    doing: str = "planning"
    error: str = ""
    due: float = 0.0
    made_of: frozenset[str] = field(default_factory=frozenset)


class Reports:
    """One report for each named or shipped study. A thread makes the reports that a page asks for.

    Code that a store names is never run: the store gives only a study's steps, and a study's own code is found by the
    name that the user gave.
    """

    def __init__(self, view: StoreView, named: Mapping[str, str]) -> None:
        self._view, self._named = view, dict(named)
        self._store = Store(view.store.location, read_only=True)
        self._reports: dict[str, Report] = {}
        self._asked: dict[str, float] = {}
        self._over, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="board reports")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait a moment for it: to plan and draw a large study takes minutes, and its thread only reads."""
        self._over.set()
        self._wake.set()
        self._thread.join(PATIENCE)

    def knows(self, study: str) -> bool:
        """Whether it was named, or ships."""
        return study in self._named

    def ask(self, study: str) -> Report:
        """What there is of it now; it is followed for a while from here on."""
        self._asked[study] = clock.now()
        self._wake.set()
        return self._reports.get(study, Report())

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait(None if not self._following() else PAUSE)
            self._wake.clear()
            for study in self._following():
                if not self._over.is_set():
                    self._follow(study)

    def _following(self) -> list[str]:
        return [study for study, asked in list(self._asked.items()) if clock.now() - asked < ASKED]

    def _follow(self, study: str) -> None:
        report = self._reports.get(study, Report())
        if clock.now() < report.due:
            return
        began = clock.now()
        try:
            report = self._made(study, report)
        except OneticketError as error:
            report = replace(report, doing="", error=str(error))
        except Exception as error:  # of a user's own code, or of a store that changes under it
            report = replace(report, doing="", error=f"it broke off with {type(error).__name__}: {error}")
        spent = clock.now() - began
        self._reports[study] = replace(report, due=clock.now() + max(PAUSE, spent / SHARE))

    def _made(self, study: str, report: Report) -> Report:
        plan = report.plan or plan_of(self._named[study], RunContext(pretend=True))
        seen = self._view.look()
        made_of = frozenset(cell.step.key for cell in plan.cells if cell.step.key in seen.outcomes)
        if report.plan is not None and report.made_of == made_of and not report.error:
            return report
        self._reports[study] = replace(report, plan=plan, doing="drawing", error="")
        found = findings(plan, self._store)
        return Report(
            plan=plan,
            done=len(found.rows),
            cells=len(plan.cells),
            verdicts=judged(found).verdicts,
            figures=[_drawn(each, found) for each in (HERO, *map(figure_named, plan.figures))] if found.rows else [],
            doing="",
            made_of=made_of,
        )


def _drawn(figure: Figure, found: Findings) -> Drawn:
    try:
        chart = figure.draw(found)
        if chart is None:
            return Drawn(figure=figure, lacking=f"Not drawn yet, for want of what it shows: {figure.needs}.")
        return Drawn(figure=figure, picture=picture(figure, chart))
    except OneticketError as error:
        return Drawn(figure=figure, lacking=f"It cannot be drawn: {error}")
