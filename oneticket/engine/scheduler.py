"""The front of a plan: which steps can be begun now, and how those behind it ended. Every engine walks along it."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from oneticket.engine.execute import PAUSE
from oneticket.ground import clock
from oneticket.ground.canon import joined
from oneticket.ground.errors import OneticketError
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.plan import closure
from oneticket.study.steps import akin

Observer = Callable[[Step, str], None]
P = ParamSpec("P")
R = TypeVar("R")
MAIN = '"__main__:'


@dataclass(frozen=True, kw_only=True)
class Piles:
    """How a run ended, step by step: done now, reused, failed with their errors, not run for want of those."""

    done: tuple[Step, ...]
    reused: tuple[Step, ...]
    failed: tuple[tuple[Step, OneticketError], ...]
    not_run: tuple[Step, ...]


def _one_at_a_time(method: Callable[Concatenate[Front, P], R]) -> Callable[Concatenate[Front, P], R]:
    """A method of a front that threads call in turn."""

    @wraps(method)
    def called(self: Front, /, *args: P.args, **named: P.kwargs) -> R:
        with self._lock:
            return method(self, *args, **named)

    return called


class Front:
    """Steps on their way into the four lists of results. Steps in the store are reused at once.

    A step is taken, then ended, failed, or put back. Ready steps come in the planned order or, with `longest_first`, by
    the longest chain of steps that wait for them, which keeps many workers busy to the end. `wide`: how many steps can
    run at once, on average, with workers for all. Several threads may use it; an error that ended one of them
    (`broken`) is raised for the next that takes a step.
    """

    def __init__(
        self, steps: Iterable[Step], *, store: Store, observe: Observer | None = None, longest_first: bool = False
    ) -> None:
        self._lock = threading.RLock()
        self.broken: BaseException | None = None
        self._order = {step.key: step for step in closure(steps)}
        self._observe = observe or _ignore
        self._waiting = {key: {need.key for need in step.needs} for key, step in self._order.items()}
        self._heirs: dict[str, list[str]] = {key: [] for key in self._order}
        for key, needs in self._waiting.items():
            for need in needs:
                self._heirs[need].append(key)
        self._ready: list[tuple[tuple[int, int], str]] = []
        self._elsewhere: dict[str, float] = {}
        self._piles: dict[str, list[Step]] = {"done": [], "reused": [], "not run": []}
        self._failed: list[tuple[Step, OneticketError]] = []
        self._left = set(self._order)
        there = store.there(self._order)
        for step in [step for key, step in self._order.items() if key in there]:
            self._close(step, "reused")
        rows = self._rows()
        self.wide = len(self._left) / (max(rows.values(), default=0) or 1)
        self._rank = {key: (-rows[key] * longest_first, number) for number, key in enumerate(self._order)}
        for key in self._left:
            self._open(key)

    @property
    def left(self) -> int:
        """How many steps are to do or to wait for."""
        return len(self._left)

    @property
    def of_main(self) -> str | None:
        """A function or class of this program's main module that a step which is left names; no worker can find it."""
        texts = (joined(step.args) for key, step in self._order.items() if key in self._left)
        return next((text.partition(MAIN)[2].partition('"')[0] for text in texts if MAIN in text), None)

    @property
    @_one_at_a_time
    def ready(self) -> int:
        """How many steps could be begun now."""
        self._look_again()
        return len(self._ready)

    def take(self) -> Step | None:
        """The next step to begin; None if all that can be done now is running, here or elsewhere."""
        return next(iter(self.take_akin(1)), None)

    @_one_at_a_time
    def take_akin(self, most: int) -> list[Step]:
        """The next step to begin, with up to `most` in all that are akin to it; none if `take` had none."""
        if self.broken is not None:
            raise self.broken
        self._look_again()
        if not self._ready:
            return []
        taken = [self._order[heapq.heappop(self._ready)[1]]]
        for rank, key in sorted(self._ready) if most > 1 else ():
            if len(taken) < most and akin(taken[0], self._order[key]):
                taken.append(self._order[key])
                self._ready.remove((rank, key))
        heapq.heapify(self._ready)
        for step in taken:
            if step.key not in self._elsewhere:
                self._observe(step, "begun")
        return taken

    @_one_at_a_time
    def end(self, step: Step, said: str) -> None:
        """Record how a step ended: what `attempt` returned, or "lost" if its process is gone."""
        if said == "elsewhere":
            if step.key not in self._elsewhere:
                self._observe(step, said)
            self._elsewhere[step.key] = clock.now() + PAUSE
            return
        if said == "lost":
            self._observe(step, said)
            self._open(step.key)
            return
        if said in ("there already", "drifted"):
            self._observe(step, said)
        self._close(step, "reused" if said == "reused" else "done")
        for heir in self._heirs[step.key]:
            self._open(heir)

    @_one_at_a_time
    def fail(self, step: Step, error: OneticketError) -> None:
        """Record that a step failed; all steps that depend on it are not run."""
        self._left.discard(step.key)
        self._failed.append((step, error))
        self._observe(step, "failed")
        lost, far = {step.key}, [step.key]
        while far:
            heirs = [heir for heir in self._heirs[far.pop()] if heir in self._left and heir not in lost]
            lost.update(heirs)
            far += heirs
        for key in self._order:
            if key in lost and key in self._left:
                self._close(self._order[key], "not run")

    def piles(self) -> Piles:
        """How it ended."""
        done, reused, not_run = (tuple(pile) for pile in self._piles.values())
        return Piles(done=done, reused=reused, failed=tuple(self._failed), not_run=not_run)

    def _close(self, step: Step, pile: str) -> None:
        self._left.discard(step.key)
        self._piles[pile].append(step)
        self._observe(step, pile)
        for heir in self._heirs[step.key] if pile != "not run" else ():
            self._waiting[heir].discard(step.key)

    def _open(self, key: str) -> None:
        if key in self._left and not self._waiting[key]:
            heapq.heappush(self._ready, (self._rank[key], key))

    def _look_again(self) -> None:
        """Steps that others were at can be tried again after a while; they stay known as such."""
        for key, due in self._elsewhere.items():
            if clock.now() >= due:
                self._elsewhere[key] = float("inf")
                self._open(key)

    def _rows(self) -> dict[str, int]:
        """How many steps that are left each one holds up, one after the other, itself included."""
        rows: dict[str, int] = {}
        for key in reversed(self._order):
            rows[key] = max((rows[heir] for heir in self._heirs[key]), default=0) + (key in self._left)
        return rows


def _ignore(step: Step, event: str) -> None: ...
