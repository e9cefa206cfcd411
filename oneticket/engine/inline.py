"""The inline engine: steps one after the other in this process, or several together, each done once."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial

from oneticket.engine.execute import PAUSE, attempting, making
from oneticket.engine.scheduler import Front
from oneticket.engine.scheduler import Observer as Observer
from oneticket.engine.scheduler import Piles as Piles
from oneticket.ground.errors import OneticketError
from oneticket.ground.threads import threads
from oneticket.lottery.grouping import do_together
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store


def run(
    steps: Iterable[Step],
    *,
    store: Store,
    context: RunContext,
    observe: Observer | None = None,
    together: int = 1,
) -> Piles:
    """Do the steps that are not in the store yet. A failing branch does not stop the others.

    `together`: how many steps may be done in parallel, with similar trainings as one program.

    `observe(step, event)` receives the end of every step: "done", "reused", "failed" or "not run"; and before that, as
    it happens, "begun", "elsewhere" (another process runs it; it is checked again later), "lost" (that process is gone;
    the step is begun again), and "there already" or "drifted" (another process stored the same, or another outcome).
    """
    front = Front(steps, store=store, observe=observe, longest_first=together > 1)
    with threads(context.threads):
        while front.left:
            taken = front.take_akin(together)
            if not taken:
                if context.stop():
                    raise KeyboardInterrupt
                threading.Event().wait(PAUSE)
                continue
            made = partial(making, count=len(taken))
            for step, said in zip(
                taken, do_together([attempting(each, store, context, made) for each in taken]), strict=True
            ):
                if isinstance(said, str):
                    front.end(step, said)
                elif isinstance(said, OneticketError):
                    front.fail(step, said)
                else:
                    raise said
    return front.piles()
