"""The inline engine: steps one after the other in this process, each done once, ever."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from oneticket.engine.attempt import attempt
from oneticket.engine.front import PAUSE, Front
from oneticket.engine.front import Observer as Observer
from oneticket.engine.front import Piles as Piles
from oneticket.ground.errors import OneticketError
from oneticket.lottery.place import Place
from oneticket.store.step import Step
from oneticket.store.store import Store


def run(steps: Iterable[Step], *, store: Store, place: Place, observe: Observer | None = None) -> Piles:
    """Do what is not in the store yet. One failing branch does not stop the others.

    `observe(step, event)` hears of every step how it ended: "done", "reused", "failed" or "not run"; and before that,
    as it happens, "begun", "elsewhere" (somebody else is at it; it is looked at again), "lost" (whoever was at it is no
    more; it is begun again), and "there already" or "drifted" (somebody put the same, or another outcome meanwhile).
    """
    front = Front(steps, store=store, observe=observe)
    while front.left:
        step = front.take()
        if step is None:
            if place.stop():
                raise KeyboardInterrupt
            threading.Event().wait(PAUSE)
            continue
        try:
            front.end(step, attempt(step, store, place))
        except OneticketError as error:
            front.fail(step, error)
    return front.piles()
