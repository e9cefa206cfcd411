"""Feeding trackers while a study runs: every network that is trained, as soon as it is in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from oneticket.cli.terminal import tell
from oneticket.engine.inline import Observer
from oneticket.ground.errors import OneticketError
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.steps import measured
from oneticket.study.track import Tracker, tracker


@contextmanager
def tracking(asked: Sequence[str], store: Store) -> Iterator[list[Observer]]:
    """One observer per tracker; one that fails is told of once and left out: a study is worth more than its log."""
    with ExitStack() as after:
        heard = []
        for text in asked:
            one = tracker(text)
            after.callback(_quietly, one, text)
            heard.append(_Feed(one, text, store))
        yield [each.observe for each in heard]


class _Feed:
    """One tracker, as long as it works."""

    def __init__(self, one: Tracker, text: str, store: Store) -> None:
        self.tracker: Tracker | None = one
        self.text, self.store = text, store

    def observe(self, step: Step, event: str) -> None:
        """Hand over a trained network, new or reused."""
        if self.tracker is None or event not in ("done", "reused") or not measured(step):
            return
        try:
            found = self.store.find(step)
            if found is None:  # damaged, as was told: the next run makes it anew, and tells of it then
                return
            self.tracker.step(step, found, seconds=self.store.provenance(step).get("seconds"))
        except OneticketError as error:
            _tell(self.text, error)
            self.tracker = None


def _quietly(one: Tracker, text: str) -> None:
    try:
        one.close()
    except OneticketError as error:
        _tell(text, error)


def _tell(text: str, error: OneticketError) -> None:
    tell(f"--track {text}: {error}", style="yellow")
