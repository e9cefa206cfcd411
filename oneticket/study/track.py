"""Trackers: what a study trained, shown in TensorBoard, MLflow or Weights & Biases. None is needed, none is asked.

A tracker is fed from the store, one step after the other, so it is alike for every engine, and a finished study can be
replayed into one. A step that it holds already is passed over: it is one run, known by its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from oneticket.ground.errors import SpecError, StoreError
from oneticket.store.step import Outcome, Step
from oneticket.study.tracked_run import run_of
from oneticket.study.trackers import TRACKERS, TrackerRuns


class Tracker(Protocol):
    """Where finished steps are shown."""

    def step(self, step: Step, outcome: Outcome, *, seconds: float | None = None) -> None:
        """Show a step as one run; one that trained no measured network, or that is there already, is passed over.

        Raises StoreError the first time that the tracker fails, and does nothing after that: show it and go on.
        """

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
    opened = TRACKERS.resolve(kind)
    if not where:
        raise SpecError(f"tracker {kind}: expected {kind}:FOLDER, got {text!r}")
    try:
        with TRACKERS.blamed(kind):
            runs = opened(where)
        if lacking := [name for name in ("has", "write", "close") if not callable(getattr(runs, name, None))]:
            raise SpecError(f"tracker {kind!r}: expected methods has, write and close, got none for {lacking}")
        return _Told(text, runs)
    except ImportError as error:
        raise SpecError(
            f"tracker {kind}: a package is not installed ({error}); pip install 'oneticket[{kind}]'"
        ) from error


class _Told:
    """A tracker whose runs are written once, and whose first failure alone is told."""

    def __init__(self, text: str, runs: TrackerRuns) -> None:
        self.text, self.runs, self.failed = text, runs, False

    def step(self, step: Step, outcome: Outcome, *, seconds: float | None = None) -> None:
        run = None if self.failed else run_of(step, outcome, seconds)
        with self._told():
            if run and not self.runs.has(run):
                self.runs.write(run)

    def close(self) -> None:
        with self._told():
            self.runs.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a foreign package raises
            if not self.failed:
                self.failed = True
                words = str(error).strip() or type(error).__name__
                raise StoreError(
                    f"tracker {self.text}: {words}; nothing more is shown there, and the study goes on; run it again "
                    "to fill in what is missing"
                ) from error


OWN = re.compile(r"(.+\.py:[\w.]+|[\w.]+:[\w.]+):(.+)")
"""A path, and where that one logs."""
