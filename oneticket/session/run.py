"""Running steps as a person sees it: with progress, a good end on Ctrl-C, and what was done, reused and lost."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from oneticket.engine.engine import Engine, run
from oneticket.engine.scheduler import Piles
from oneticket.ground import clock
from oneticket.ground.allocator import keep_freed
from oneticket.ground.phase import phase
from oneticket.ground.stop_signals import HANGUP, to_answer
from oneticket.lottery.run_context import RunContext
from oneticket.session.called import Called
from oneticket.session.progress import view
from oneticket.session.terminal import leave_closed_terminal
from oneticket.session.track import tracking
from oneticket.session.work import work
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.described import describe
from oneticket.study.plan import closure
from oneticket.study.rows import COMPACT
from oneticket.study.steps import trains

INLINE = Engine(name="inline")


def run_steps(
    steps: Sequence[Step],
    *,
    store: Store,
    context: RunContext,
    progress: bool | None,
    engine: Engine = INLINE,
    track: Sequence[str] = (),
    read: Sequence[Step] = (),
    each: bool = False,
    names: Mapping[str, Called] | None = None,
) -> Piles:
    """Do those of these steps, and of their needs, that are not in the store; failures are in the result.

    `progress`: see `screen`. `track`: trackers, such as `tensorboard:logs`. `read`: steps whose tensors are read later;
    they are checked first, so that a damaged one is done again in this run. `each`: report each finished training in a
    line. `names`: address -> what a step is called.
    """
    keep_freed()
    began = clock.now()
    with phase("checking what is done already"):
        everything = closure(steps)
        for step in read:
            store.find(step)
    works = None if progress is False else work(everything, context)
    seen = view(everything, progress=progress, store=store if each else None, names=names, works=works)
    with tracking(track, store) as trackers, seen as shown, stop_requests(lambda: shown.screen.line(STOPPING)) as asked:
        for line in context.said_of_data():
            shown.screen.line(line)

        def observe(step: Step, event: str) -> None:
            for observe_one in (shown.observe, *(each.observe for each in trackers)):
                observe_one(step, event)

        here = replace(context, watchers=(*context.watchers, shown.watch, *(one.watch for one in trackers)), stop=asked)
        piles = run(steps, store=store, context=here, observe=observe, engine=engine)
        how = [str(each.get("how", "")) for each in store.provenances({step.key for step in piles.done}).values()]
        for line in (*computed(how), *_mixed((*piles.done, *piles.reused), store)):
            shown.screen.line(line)
        spent = clock.spoken(clock.now() - began)
        shown.screen.line(
            f"{_steps(len(piles.done))} done in {spent}, {len(piles.reused)} reused from {_near(store.url)}"
        )
    return piles


def failures(piles: Piles, names: Mapping[str, Called] | None = None) -> list[str]:
    """What failed, in a line for each reason."""
    reasons: dict[str, list[Step]] = {}
    for step, error in piles.failed:
        reasons.setdefault(str(error), []).append(step)
    said = []
    for reason, steps in reasons.items():
        more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
        arm = (names or {}).get(steps[0].key, Called()).arm
        said.append(f"failed: {describe(steps[0], arm)}{more}: {reason}")
    return said


def _near(url: str) -> str:
    """A store's place, relative to the current folder if it is inside."""
    return url.removeprefix(os.getcwd() + os.sep)


def computed(how: Iterable[str]) -> Iterator[str]:
    """How the networks of some steps were computed, where it was not as they stand; from what each step says of it.

    >>> for line in computed(["1 of 2 layers sparse; 1 unit removed", "2 units left out", "compiled, default", ""]):
    ...     print(line.partition(":")[0])
    sparse layers in 1 step and dead units skipped in 2 steps
    1 step
    """
    said = Counter(part for each in how for part in each.split("; ") if part)
    plain = {kind: sum(count for part, count in said.items() if found.search(part)) for kind, found in COMPACT.items()}
    if any(plain.values()):
        kinds = " and ".join(f"{kind} in {_steps(count)}" for kind, count in plain.items() if count)
        yield f"{kinds}: the results differ by rounding alone (--no-compact turns this off)"
    for part, count in said.items():
        if not any(found.search(part) for found in COMPACT.values()):
            yield f"{_steps(count)}: {part}"


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"


def _mixed(steps: Sequence[Step], store: Store) -> Iterator[str]:
    """That the plan's trainings had different numbers of threads, where they did."""
    trained = {step.key for step in steps if trains(step)}
    counts = Counter(int(each["threads"]) for each in store.provenances(trained).values() if "threads" in each)
    if len(counts) > 1:
        each = " and ".join(f"{count} with {number}" for number, count in sorted(counts.items()))
        yield (
            f"the store mixes numbers of CPU threads ({each}), so these results differ by rounding; for equal bits "
            "take one number for --threads and a new --store"
        )


STOPPING = "stopping after this step; Ctrl-C again stops at once"


@contextmanager
def stop_requests(on_request: Callable[[], None] | None = None) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a request to stop after the step under way, with a checkpoint.

    `on_request` is called at the first signal, in a thread of its own: the main thread may be within a line that it
    prints, and hold what another line needs. A second signal ends the program at once, with the last checkpoint as it
    is; but a SIGHUP does not, because a terminal that closes can send it twice. SIGHUP is left alone where it is
    ignored or has a handler. Only the main thread receives signals; in another thread nothing is caught.
    """
    asked, told = list[int](), list[threading.Thread]()

    def ask(number: int, _frame: object) -> None:
        leave_closed_terminal()
        if asked and number == HANGUP:
            return
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        if on_request is not None:
            told.append(threading.Thread(target=on_request))
            told[0].start()

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, ask) for number in (to_answer() if main else ())}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for thread in told:
            thread.join()
