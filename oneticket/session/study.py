"""A study from Python: the steps of `oneticket study`, kept in the same store, and what came of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oneticket.claims.claim import Verdict
from oneticket.claims.claims import CLAIMS
from oneticket.engine.engine import Engine
from oneticket.engine.scheduler import Piles
from oneticket.ground.brief import line
from oneticket.ground.card import card_by
from oneticket.ground.phase import phase
from oneticket.lottery.run_context import RunContext
from oneticket.report.contents import judged
from oneticket.session.called import called
from oneticket.session.run import failures, run_steps
from oneticket.store.store import Store
from oneticket.study.design import keep_study
from oneticket.study.findings import Findings, findings
from oneticket.study.grid import Plan, plan
from oneticket.study.replicates import of_replicates
from oneticket.study.resolve import plan_of
from oneticket.study.rows import Rows
from oneticket.study.spec import FIGURES, StudySpec
from oneticket.study.stale_data import changes

if TYPE_CHECKING:
    from pandas import DataFrame

STORE = ".oneticket"
"""The default store of finished work."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A study that was run: its rows, findings, verdicts and report, as far as its networks are trained.

    `done`: how many steps this run did. `reused`: how many it found in the store. `failed`: a line for each reason why
    a step failed.
    """

    plan: Plan
    store: Store
    done: int
    reused: int
    failed: tuple[str, ...] = ()

    @cached_property
    def findings(self) -> Findings:
        """Everything that the store has of the study: rows, masks by layer, overlaps, curves, cost."""
        return findings(self.plan, self.store)

    @property
    def rows(self) -> Rows:
        """One row for each trained network."""
        return Rows(self.findings.rows)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on each claim of the study."""
        return tuple(judged(self.findings).verdicts)

    def table(self) -> DataFrame:
        """The rows as a pandas DataFrame."""
        return self.rows.table()

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Write the report into a folder, as `oneticket report` does, and return its page; StoreError, SpecError."""
        from oneticket.report.page import write_report

        return write_report(self.findings, Path(folder))[0]

    _repr_html_ = card_by("report.cards:of_run")

    def __repr__(self) -> str:
        there = ("networks", f"{len(self.findings.rows)} of {len(self.plan.cells)}")
        return line("StudyRun", [("name", self.plan.name), there, ("done", self.done), ("reused", self.reused)])


def run(
    study: str | os.PathLike[str] | Mapping[str, Any] | StudySpec | Plan,
    *,
    replicates: str | int | Collection[int] | None = None,
    store: str | os.PathLike[str] | None = STORE,
    progress: bool | None = None,
    track: Sequence[str] = (),
    engine: Literal["auto", "inline", "processes", "ray"] | Engine = "auto",
    context: RunContext | None = None,
) -> StudyRun:
    """Run the steps of a study that are not in the store yet; a second run trains nothing.

    It does what `oneticket study` does, in the same store. `study`: a file, the name of a shipped one,
    `mine.py:function`, the content of such a file as a mapping, a StudySpec or a Plan. `replicates`: only these, as
    `6-9`, `0,3` or numbers, so that machines can share a study; the others count as missing. `store`: a folder or URL;
    None keeps nothing. `engine`: as on the command line. `progress`, `track`, `context`: as for `search`; unless the
    context says how many, a training has the study's threads.

    One step that fails does not stop the others: a warning says so, and `failed` why. Raises SpecError for a mistake in
    the study, DataError for data that are not available, StoreError if the store refuses, and KeyboardInterrupt after a
    checkpoint when interrupted.

    >>> quick = {"levels": [1], "arms": ["dense", "ticket"], "replicates": 1, "training": {"budget": "1ep"}}
    >>> grid = {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}
    >>> again = run({"name": "mine", "rewind": "1it", "parts": {"halves": grid}, **quick}, store=None)
    >>> again.done, [row["arm"] for row in again.rows]
    (4, ['dense', 'ticket'])
    """
    context, kept = context or RunContext(), Store(store)
    with phase("planning"):
        planned = _plan(study, context)
    asked = of_replicates(planned, replicates)
    check_tables(planned)
    for doubt in (*planned.doubts, *changes(planned.steps, kept)):
        warnings.warn(doubt, UserWarning, stacklevel=2)
    keep_study(planned, kept)  # the whole study, whichever part of it runs here
    names = called(asked.cells, places=True)
    piles = run_steps(
        [cell.step for cell in asked.cells],
        store=kept,
        context=replace(context, threads=context.threads or planned.threads),
        progress=progress,
        engine=engine if isinstance(engine, Engine) else Engine(name=engine),
        track=track,
        each=True,
        names=names,
    )
    failed = tuple(failures(piles, names))
    if failed:
        warnings.warn("\n".join(failed), UserWarning, stacklevel=2)
    return _ran(planned, kept, piles, failed)


def check_tables(planned: Plan) -> None:
    """Find the study's own claims and figures before anything is trained; SpecError for a missing one."""
    for table, names in ((CLAIMS, planned.claims), (FIGURES, planned.figures)):
        for each in names:
            table.resolve(each)


def _plan(study: str | os.PathLike[str] | Mapping[str, Any] | StudySpec | Plan, context: RunContext) -> Plan:
    if isinstance(study, Plan):
        return study
    if isinstance(study, StudySpec | Mapping):
        return plan(StudySpec.read(study), context)
    return plan_of(os.fspath(study), context)


def _ran(planned: Plan, store: Store, piles: Piles, failed: tuple[str, ...]) -> StudyRun:
    return StudyRun(plan=planned, store=store, done=len(piles.done), reused=len(piles.reused), failed=failed)
