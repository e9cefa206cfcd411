"""Feeding trackers: each training while it runs, where that is in this process, and as soon as it is in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from oneticket.ground.errors import OneticketError
from oneticket.session.terminal import tell
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.steps import measured
from oneticket.study.track import Tracker, tracker
from oneticket.training.loop import Run


@contextmanager
def tracking(asked: Sequence[str], store: Store) -> Iterator[list[Feed]]:
    """One observer per tracker; one that fails is reported once and left out, so that the study goes on."""
    with ExitStack() as after:
        heard = list[Feed]()
        for text in asked:
            one = tracker(text)
            after.callback(_quietly, one, text)
            heard.append(Feed(one, text, store))
        yield heard


class Feed:
    """One tracker, as long as it works."""

    def __init__(self, one: Tracker, text: str, store: Store) -> None:
        self.tracker: Tracker | None = one
        self.text, self.store = text, store
        self._under_way = 0

    def observe(self, step: Step, event: str) -> None:
        """Hand over a trained network, new or reused; and before, one that is begun, if it is alone."""
        if event == "begun" and self.tracker is not None:
            self._under_way += 1
            if self._under_way == 1:
                self._try(lambda tracker: tracker.begin(step))
        elif event in ("done", "failed", "elsewhere"):
            self._under_way = max(self._under_way - 1, 0)
        if self.tracker is None or event not in ("done", "reused") or not measured(step):
            return
        try:
            found = self.store.find(step)
            if found is None:  # damaged, which was reported: the next run makes it again, and tracks it then
                return
            self.tracker.step(step, found, seconds=self.store.provenance(step).get("seconds"))
        except OneticketError as error:
            self._leave_out(error)

    def watch(self, run: Run) -> None:
        """Show a training under way, as a watcher."""
        if self.tracker is not None and self._under_way == 1:
            self._try(lambda tracker: tracker.watch(run))

    def _try(self, what: Callable[[Tracker], None]) -> None:
        try:
            if self.tracker is not None:
                what(self.tracker)
        except OneticketError as error:
            self._leave_out(error)

    def _leave_out(self, error: OneticketError) -> None:
        _tell(self.text, error)
        self.tracker = None


def _quietly(one: Tracker, text: str) -> None:
    try:
        one.close()
    except OneticketError as error:
        _tell(text, error)


def _tell(text: str, error: OneticketError) -> None:
    tell(f"--track {text}: {error}", style="yellow")
