"""One attempt at a step, the same for every engine: claimed, made out of what it needs, put into the store.

It is a task, which asks for trainings, so that several can be done side by side.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from oneticket.engine.handlers import outdated, work
from oneticket.ground import clock
from oneticket.ground.errors import OneticketError, StoreError
from oneticket.lottery.grouping import Placed, T, do_together
from oneticket.lottery.run_context import RunContext
from oneticket.store.claim import Claim
from oneticket.store.slot import StoreSlot
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.training.curve import Curve
from oneticket.training.watch import Watcher

Make = Callable[[Step, Store, RunContext], str]
WITHOUT_SIGNS = "an earlier version trained this level and did not keep the signs of its weights, which are needed now"
LINES = 8  # of a traceback
PAUSE = 0.5  # seconds between two looks at a step that another process runs


def making(step: Step, store: Store, context: RunContext, *, count: int = 1) -> Placed[str]:
    """Read what the step needs, do its work, and store the outcome; returns the result of `Store.put`.

    Of several ranks, only the first stores. If `count` steps are done in parallel, each counts its part of the time.
    """
    began, here = clock.now(), replace(context, checkpoint=context.checkpoint or store.slot(step))
    needs = [store.get(need) for need in step.needs]
    if old := outdated(step, needs):
        store.discard(old.key, WITHOUT_SIGNS)
        raise StoreError(f"{store.url}, {old.key}: {WITHOUT_SIGNS}")
    outcome = yield from work(step, needs, here)
    if context.rank:
        return "kept"
    device = str(context.device) if context.ranks == 1 else f"{context.device}, ranks={context.ranks}"
    seconds = here.spent + (clock.now() - began) / count
    return store.put(step, outcome, seconds=seconds, device=device, how=here.how)


def make(step: Step, store: Store, context: RunContext) -> str:
    """What `making` does, by itself."""
    return alone(making(step, store, context))


class Lost(Exception):
    """A rank was lost, or failed in a way that is not the step's; the errors of the other ranks are consequences."""


class Broken(StoreError):
    """A step ended with an unexpected error; the text is the end of the traceback."""


def attempt(step: Step, store: Store, context: RunContext, make: Make = make) -> str:
    """As `attempting`, for a single step; raises what that returns."""

    def made(step: Step, store: Store, context: RunContext) -> Placed[str]:
        yield from ()
        return make(step, store, context)

    return alone(attempting(step, store, context, made))


def attempting(
    step: Step, store: Store, context: RunContext, making: Callable[[Step, Store, RunContext], Placed[str]] = making
) -> Placed[str]:
    """Do the step unless it is done or another process runs it.

    Returns "done" (or "there already" or "drifted", if another process stored an outcome at the same time), "reused" or
    "elsewhere", also if another process took over because this one was silent for too long. Needs of the step that are
    found damaged or outdated are computed again first. Raises the errors of the work, which the store remembers (Broken
    for any error but an OneticketError), and KeyboardInterrupt when asked to stop.
    """
    store.define(step)
    curve = Curve()
    with store.claim(step, curve.report) as claim:
        if claim is None:
            return "elsewhere"
        if store.has(step):
            return "reused"
        held = claim

        def stop() -> bool:
            return held.lost or context.stop()

        try:
            watchers: tuple[Watcher, ...] = (curve, *context.watchers)
            here = replace(context, stop=stop, watchers=watchers, checkpoint=_Held(slot=store.slot(step), claim=claim))
            said = yield from _with_needs(step, store, here, making)
        except KeyboardInterrupt:
            if held.lost and not context.stop():
                return "elsewhere"
            raise
        except Lost:
            raise
        except OneticketError as error:
            _remember(step, store, error)
            raise
        except Exception as error:
            last = "\n".join(traceback.format_exc().splitlines()[-LINES:])
            broken = Broken(f"the step broke off with {type(error).__name__}:\n{last}")
            _remember(step, store, broken)
            raise broken from error
    return "done" if said == "kept" else said


def _with_needs(
    step: Step, store: Store, context: RunContext, making: Callable[[Step, Store, RunContext], Placed[str]]
) -> Placed[str]:
    """Do the step; a need that was set aside meanwhile, damaged or outdated, is computed again, and nothing else."""
    for _ in step.needs:
        try:
            return (yield from making(step, store, context))
        except StoreError:
            lacking = [need for need in step.needs if not store.has(need)]
            if not lacking:
                raise
        for need in lacking:
            while (yield from attempting(need, store, context, making)) == "elsewhere":
                if context.stop():
                    raise KeyboardInterrupt
                threading.Event().wait(PAUSE)
    return (yield from making(step, store, context))


def alone(task: Placed[T]) -> T:
    """Do one task; what it returns or raises."""
    (said,) = do_together([task])
    if isinstance(said, BaseException):
        raise said
    return said


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A step's checkpoint, as long as the step is ours: once another process took over, only that one may write it."""

    slot: StoreSlot
    claim: Claim

    @property
    def of(self) -> str:
        return self.slot.of

    def read(self) -> bytes | None:
        return self.slot.read()

    def write(self, data: bytes) -> None:
        if not self.claim.lost:
            self.slot.write(data)

    def set_aside(self, why: object) -> None:
        self.slot.set_aside(why)


def _remember(step: Step, store: Store, error: OneticketError) -> None:
    with contextlib.suppress(StoreError):
        store.note_failure(step, str(error))
