"""What every command that runs steps shares: run steps with progress, stop well on Ctrl-C, and tell how it went."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from oneticket.cli.progress import view
from oneticket.cli.terminal import tell
from oneticket.cli.track import Feed
from oneticket.engine.engine import Engine, run
from oneticket.engine.scheduler import Piles
from oneticket.ground import clock
from oneticket.ground.allocator import keep_freed
from oneticket.ground.phase import phase
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.described import describe
from oneticket.study.plan import closure
from oneticket.study.steps import trains

INLINE = Engine(name="inline")


def run_steps(
    steps: Sequence[Step],
    *,
    store: Store,
    context: RunContext,
    quiet: bool,
    engine: Engine = INLINE,
    heard: Sequence[Feed] = (),
    read: Sequence[Step] = (),
    each: bool = False,
) -> Piles:
    """Run a plan with progress on standard error, and say at the end what was done, reused and lost.

    `read`: steps whose tensors are read after; those that are there are checked before, so that a damaged one is done
    anew in this very run. `each`: tell each finished training in a line.
    """
    keep_freed()
    tell_data(context, quiet=quiet)
    began = clock.now()
    with phase("checking what is done already"):
        everything = closure(steps)
        for step in read:
            store.find(step)
    with view(everything, quiet=quiet, store=store if each else None) as shown, stop_requests() as asked:

        def observe(step: Step, event: str) -> None:
            for observe_one in (shown.observe, *(each.observe for each in heard)):
                observe_one(step, event)

        here = replace(context, watchers=(shown.watch, *(each.watch for each in heard)), stop=asked)
        piles = run(steps, store=store, context=here, observe=observe, engine=engine)
    spent = clock.spoken(clock.now() - began)
    said = f"{len(piles.done)} steps done in {spent}, {len(piles.reused)} reused from {store.url}"
    tell(said, quiet=quiet)
    for line in (*_how(piles.done, store), *_mixed((*piles.done, *piles.reused), store)):
        tell(line, quiet=quiet)
    reasons: dict[str, list[Step]] = {}
    for step, error in piles.failed:
        reasons.setdefault(str(error), []).append(step)
    for reason, steps_failed in reasons.items():
        more = f" and {len(steps_failed) - 1} more" if len(steps_failed) > 1 else ""
        tell(f"failed: {describe(steps_failed[0])}{more}: {reason}", style="red")
    if piles.not_run:
        tell(f"{len(piles.not_run)} steps not run, for want of those that failed", style="red", quiet=quiet)
    return piles


def tell_data(context: RunContext, *, quiet: bool) -> None:
    """Say of each set of the plan how it was read: which folder became which part, and what was left out."""
    for reading in context.readings():
        tell(reading, quiet=quiet)


def _how(done: Sequence[Step], store: Store) -> Iterator[str]:
    """How the networks were computed, where it was not as they stand."""
    told = store.provenances({step.key for step in done}).values()
    said = Counter(part for each in told for part in str(each.get("how", "")).split("; ") if part)
    plain = {words: sum(count for part, count in said.items() if words in part) for words in COMPACT}
    if any(plain.values()):
        kinds = " and ".join(f"{count} with {COMPACT[words]}" for words, count in plain.items() if count)
        yield f"{kinds}, which is exact to rounding (--no-compact does without)"
    for part, count in said.items():
        if not any(words in part for words in COMPACT):
            yield f"{count} steps: {part}"


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


COMPACT = {"layers sparse": "sparse layers", "units left out": "units left out"}


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step under way, when a checkpoint is written.

    A second one ends at once; the last checkpoint then stands.
    """
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
