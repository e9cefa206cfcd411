"""Trackers: a study's trainings in TensorBoard, MLflow or Weights & Biases. All are optional.

A tracker is fed from the store, one step after the other, so it is the same for every engine, and a finished study can
be replayed into one. A step that it holds already is skipped: its run is known by the step's key. If trainings run in
this process, one after the other, a tracker also sees them while they run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from oneticket.ground.errors import SpecError, StoreError
from oneticket.ground.url import without_password
from oneticket.store.step import Outcome, Step
from oneticket.study.tracked_run import POINTS, begun_run, points, run_of
from oneticket.study.trackers import CURVE, TRACKERS, LiveRun, TrackerRuns
from oneticket.training.loop import Run


class Tracker(Protocol):
    """Where finished steps are shown."""

    def step(self, step: Step, outcome: Outcome, *, seconds: float | None = None) -> None:
        """Show a step as one run; one that trained no measured network, or that is there already, is passed over.

        Raises StoreError the first time that the tracker fails, and does nothing after that: show it and go on.
        """

    def begin(self, step: Step) -> None:
        """Receive the begin of a step, whose training `watch` will see; raises as `step` does."""

    def watch(self, run: Run) -> None:
        """See a position of the training that was begun last: its losses and rate, now and then its measures."""

    def close(self) -> None:
        """Write what is not written, and leave no thread, process or file open; as `step` in what it raises."""


def tracker(text: str) -> Tracker:
    """Open a tracker: `tensorboard:FOLDER`, `mlflow:FOLDER`, `mlflow:URI` or `wandb:FOLDER`.

    Your own is `file.py:function:WHERE`: the function gets the text WHERE and returns `TrackerRuns`.

    Nothing goes over the network, except to an MLflow server whose URI is given, and by Weights & Biases where
    WANDB_MODE is set to online; usage reports of the packages are switched off. MLflow's own pages show a folder where
    MLFLOW_ALLOW_FILE_STORE is true; a database (`mlflow:sqlite:///runs.db`) needs all of mlflow, not mlflow-skinny.

    Raises SpecError for an unknown kind, a package that is not installed, or a folder that cannot be made, and
    StoreError for a place that does not answer.

    >>> tracker("tensorbord:runs")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: unknown tracker 'tensorbord'; did you mean 'tensorboard'? Known: mlflow, ...
    """
    kind, _, where = text.partition(":")
    if kind not in TRACKERS and (path := OWN.fullmatch(text)):
        kind, where = path[1], path[2]
    elif kind.endswith(".py"):
        raise SpecError(f"tracker {text!r}: expected file.py:function:WHERE")
    TRACKERS.renew(kind)
    opened = TRACKERS.resolve(kind)
    if not where:
        raise SpecError(f"tracker {kind}: expected {kind}:FOLDER, got {text!r}")
    try:
        with TRACKERS.blamed(kind):
            runs = opened(where)
        if lacking := [name for name in ("has", "write", "close") if not callable(getattr(runs, name, None))]:
            raise SpecError(f"tracker {kind!r}: expected methods has, write and close, got none for {lacking}")
        return _Tracked(text, runs)
    except ImportError as error:
        raise SpecError(
            f"tracker {kind}: a package is not installed ({error}); pip install 'oneticket[{kind}]'"
        ) from error


class _Tracked:
    """A tracker whose runs are written once, and of which only the first failure is reported."""

    def __init__(self, text: str, runs: TrackerRuns) -> None:
        self.text, self.runs, self.failed = text, runs, False
        self.live: tuple[str, LiveRun] | None = None
        self.shown = 0

    def step(self, step: Step, outcome: Outcome, *, seconds: float | None = None) -> None:
        run = None if self.failed else run_of(step, outcome, seconds)
        with self._first_error():
            if run is None:
                return
            live, self.live = self.live, None
            if live is not None and live[0] == run.key:
                live[1].log([(at, {CURVE: loss}) for at, loss in run.losses if at > self.shown])
                live[1].end(run)
            elif not self.runs.has(run):
                self.runs.write(run)

    def begin(self, step: Step) -> None:
        run = None if self.failed else begun_run(step)
        begin = getattr(self.runs, "begin", None)
        with self._first_error():
            self._drop()
            if run is not None and begin is not None and not self.runs.has(run):
                self.live, self.shown = (run.key, begin(run)), 0

    def watch(self, run: Run) -> None:
        if self.live is None or self.failed:
            return
        losses, done = run.losses[run.start :], run.position - run.start
        with self._first_error():
            if done < self.shown:  # another training: one of the step's needs is done again
                self._drop()
            elif values := [(at, {CURVE: loss}) for at, loss in points(losses, self.shown, done)]:
                self.shown = values[-1][0]
                self.live[1].log([*values[:-1], (self.shown, {**values[-1][1], **_now(run, self.shown, len(losses))})])

    def close(self) -> None:
        with self._first_error():
            self._drop()
            self.runs.close()

    def _drop(self) -> None:
        live, self.live = self.live, None
        if live is not None:
            live[1].drop()

    @contextmanager
    def _first_error(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # any error of a foreign package
            if not self.failed:
                self.failed = True
                what = without_password(f"{self.text}: {str(error).strip() or type(error).__name__}")
                raise StoreError(
                    f"tracker {what}; nothing more is shown there, and the study goes on; run it again to fill in what "
                    "is missing"
                ) from error


def _now(run: Run, at: int, total: int) -> dict[str, float]:
    """The rate, and some times in a training the measures on the test set."""
    values = {"lr": float(run.optimizers[0].param_groups[0]["lr"])}
    every = -(-total // MEASURED)
    looked = run.measure is not None and at < total and at % every < -(-total // POINTS)
    return {**values, **run.measure()} if looked and run.measure is not None else values


MEASURED = 10
"""How often a training under way is measured, about; its end is measured anyway."""

OWN = re.compile(r"(.+\.py:[\w.]+|[\w.]+:[\w.]+):(.+)")
"""A path, and where that one logs."""
