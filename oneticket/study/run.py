"""The inline engine: steps one after the other in this process, each done once, ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from oneticket.ground import clock
from oneticket.ground.errors import OneticketError
from oneticket.lottery.place import Place
from oneticket.study.plan import closure
from oneticket.study.step import Step
from oneticket.study.store import Store
from oneticket.study.work import work

Observer = Callable[[Step, str], None]


@dataclass(frozen=True, kw_only=True)
class Piles:
    """How a run ended, step by step: done now, reused, failed with their errors, not run for want of those."""

    done: tuple[Step, ...]
    reused: tuple[Step, ...]
    failed: tuple[tuple[Step, OneticketError], ...]
    not_run: tuple[Step, ...]


def run(steps: Iterable[Step], *, store: Store, place: Place, observe: Observer | None = None) -> Piles:
    """Do what is not in the store yet. One failing branch does not stop the others.

    `observe(step, event)` hears of every step: "reused", "begun", "done", "failed", "not run".
    """
    done: list[Step] = []
    reused: list[Step] = []
    failed: list[tuple[Step, OneticketError]] = []
    not_run: list[Step] = []
    lacking: set[str] = set()
    observe = observe or _ignore
    for step in closure(steps):
        if step.file is not None:
            continue
        if store.has(step):
            reused.append(step)
            observe(step, "reused")
        elif any(need.key in lacking for need in step.needs):
            lacking.add(step.key)
            not_run.append(step)
            observe(step, "not run")
        else:
            observe(step, "begun")
            try:
                _do(step, store, place)
            except OneticketError as error:
                lacking.add(step.key)
                failed.append((step, error))
                observe(step, "failed")
            else:
                done.append(step)
                observe(step, "done")
    return Piles(done=tuple(done), reused=tuple(reused), failed=tuple(failed), not_run=tuple(not_run))


def _do(step: Step, store: Store, place: Place) -> None:
    began = clock.now()
    needs = [store.get(need) for need in step.needs if need.file is None]
    outcome = work(step, needs, replace(place, checkpoint=store.checkpoint(step)))
    store.put(step, outcome, seconds=clock.now() - began, device=str(place.device))


def _ignore(step: Step, event: str) -> None: ...
