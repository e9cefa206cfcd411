"""The crew: workers that do a plan's steps side by side, whatever engine they come from; lost steps are begun again."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from oneticket.engine.execute import PAUSE, attempt
from oneticket.engine.scheduler import Front, Piles
from oneticket.engine.worker import Answer
from oneticket.ground import errors
from oneticket.ground.errors import OneticketError, SpecError, StoreError, WrongStoreError
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store

LOSSES = 4
"""How often a step may lose its process before that counts as its own fault."""


class Workers(Protocol):
    """Where an engine's workers come from, and how one talks to them. A worker is any value that stands for one.

    `starts`: how often in a row workers may fail to start. If others are up by then, those alone go on.
    """

    starts: int

    def room(self) -> int:
        """How many there may be at once; SpecError if not even one."""

    def start(self) -> Any:
        """A further worker, which is heard of once it is up ("up") or failed to start ("gone")."""

    def give(self, worker: Any, key: str) -> None:
        """Have it do the step at an address; its answer is heard later."""

    def heard(self, pause: float) -> list[tuple[Any, Answer]]:
        """What workers answered; waits at most so many seconds for a first answer."""

    def ask_to_stop(self, worker: Any) -> None:
        """Ask it to write a checkpoint of its step and stop; its answer is heard later."""

    def end(self, worker: Any) -> None:
        """End it at once, or forget it if it is gone."""


def reachable(store: Store) -> None:
    """Raise WrongStoreError for a store that no other process can open."""
    if store.url.startswith("memory:"):
        raise WrongStoreError(
            f"the store {store.url} exists in this process only, and workers cannot reach it; give --store a folder or "
            "an s3:// URL"
        )


def named(front: Front) -> None:
    """Raise SpecError for steps that name code of this program's main module, which workers do not have."""
    if (name := front.of_main) is not None:
        raise SpecError(
            f"__main__:{name} is defined in the program itself, where workers cannot find it; move it to a file of its "
            f'own, as "mine.py:{name}", or take the engine inline'
        )


def walk(front: Front, workers: Workers, *, store: Store, context: RunContext) -> Piles:
    """Do the steps of the front, as many at once as there is room for.

    A step whose worker is lost is begun again, from its last checkpoint, unless it was lost too often. Once the context
    asks to stop, all running steps write a checkpoint. All workers have ended when this returns or raises.

    Raises StoreError if no worker starts, and KeyboardInterrupt when asked to stop.
    """
    crew = _Crew(front=front, workers=workers, store=store, context=context)
    try:
        while front.left:
            crew.hire()
            crew.hand_out()
            crew.hear()
            if context.stop():
                crew.stop()
                raise KeyboardInterrupt
    finally:
        crew.dismiss()
    return front.piles()


@dataclass(kw_only=True)
class _Crew:
    """The workers: those that are coming, those at a step, and those at rest."""

    front: Front
    workers: Workers
    store: Store
    context: RunContext
    coming: set[Any] = field(default_factory=set)
    busy: dict[Any, Step] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    most: int | None = None

    def hire(self) -> None:
        """Ask for as many workers as there are steps to begin, and as there is room for."""
        lacking = self.front.ready - len(self.idle) - len(self.coming)
        if lacking > 0:
            room = self.workers.room() if self.most is None else min(self.most, self.workers.room())
            free = room - len(self.idle) - len(self.coming) - len(self.busy)
            self.coming |= {self.workers.start() for _ in range(min(lacking, free))}

    def hand_out(self) -> None:
        """Give every worker at rest a step; what needs a file of this machine is done here."""
        while self.idle and (step := self.front.take()):
            try:
                if step.file is not None:
                    self.front.end(step, attempt(step, self.store, self.context))
                    continue
                self.store.define(step)
            except OneticketError as error:
                self.front.fail(step, error)
                continue
            worker = self.idle.pop()
            self.busy[worker] = step
            self.workers.give(worker, step.key)

    def hear(self) -> None:
        """Wait a moment for answers, and handle them."""
        if not (self.busy or self.coming):
            threading.Event().wait(PAUSE)
            return
        failed = ""
        for worker, answer in self.workers.heard(PAUSE):
            step = self.busy.pop(worker, None)
            for line in answer["warnings"]:
                warnings.warn(line, errors.KeptWarning, stacklevel=2)
            if worker in self.coming:
                self.coming.discard(worker)
                if answer["said"] == "gone":
                    self.workers.end(worker)
                    failed = answer["text"]
                else:
                    self.losses.pop("", None)
                    self.idle.append(worker)
            elif step is not None:
                self._rest_or_end(worker, answer)
                self._sort(step, answer)
            elif worker in self.idle:  # lost while it was at rest
                self.idle.remove(worker)
                self.workers.end(worker)
        if failed:
            self._failed_to_start(failed)

    def stop(self) -> None:
        """Ask all steps under way to write a checkpoint and stop, and wait until they have."""
        for worker in self.busy:
            self.workers.ask_to_stop(worker)
        while self.busy:
            self.hear()

    def dismiss(self) -> None:
        """End all workers, at once."""
        for worker in [*self.idle, *self.coming, *self.busy]:
            self.workers.end(worker)
        self.idle.clear()
        self.coming.clear()
        self.busy.clear()

    def _failed_to_start(self, words: str) -> None:
        """Count one failure, of however many workers: they may have one cause. Go on with fewer, if there are any."""
        self.losses[""] += 1
        if (often := self.losses[""]) < self.workers.starts:
            threading.Event().wait(PAUSE * often)
            return
        self.most = len(self.idle) + len(self.busy)
        if not self.most:
            raise StoreError(f"workers failed to start {often} times; the last error: {words}")
        many = f"{self.most} worker{'s' * (self.most > 1)}"
        warnings.warn(
            f"workers failed to start {often} times, so {many} must do: {words}", errors.KeptWarning, stacklevel=2
        )

    def _rest_or_end(self, worker: Any, answer: Answer) -> None:
        """A worker is at rest after its step; after a broken one, it ends with whatever state that left behind."""
        if answer["said"] in ("gone", "broke"):
            self.workers.end(worker)
        else:
            self.idle.append(worker)

    def _sort(self, step: Step, answer: Answer) -> None:
        said, text = answer["said"], answer["text"]
        if said in ("gone", "lost"):
            self._lost(step, text)
        elif said == "failed":
            kind = getattr(errors, answer["error"], StoreError)
            self.front.fail(step, kind(text))
        elif said == "broke":
            self._fail(step, text)
        elif said != "stopped":
            self.front.end(step, said)

    def _lost(self, step: Step, words: str) -> None:
        """Count a loss; a step is begun again, unless it was lost too often by now."""
        self.losses[step.key] += 1
        if (often := self.losses[step.key]) < LOSSES:
            self.front.end(step, "lost")
        else:
            hint = "; if memory ran out, give it a larger share; what it reached is kept, so run again to go on"
            self._fail(step, f"its worker was lost {often} times{hint}. The last time: {words}")

    def _fail(self, step: Step, words: str) -> None:
        with contextlib.suppress(StoreError):
            self.store.note_failure(step, words)
        self.front.fail(step, StoreError(words))
