"""Shared by every command that runs steps: failures are reported, also with --quiet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oneticket.engine.engine import Engine
from oneticket.engine.scheduler import Piles
from oneticket.lottery.run_context import RunContext
from oneticket.session import run
from oneticket.session.called import Called
from oneticket.session.terminal import tell
from oneticket.store.step import Step
from oneticket.store.store import Store


def run_steps(
    steps: Sequence[Step],
    *,
    store: Store,
    context: RunContext,
    quiet: bool,
    engine: Engine = run.INLINE,
    track: Sequence[str] = (),
    read: Sequence[Step] = (),
    each: bool = False,
    names: Mapping[str, Called] | None = None,
) -> Piles:
    """Run a plan as `session.run` does, and report failures."""
    piles = run.run_steps(
        steps,
        store=store,
        context=context,
        progress=not quiet,
        engine=engine,
        track=track,
        read=read,
        each=each,
        names=names,
    )
    for line in run.failures(piles, names):
        tell(line, style="red")
    if piles.not_run:
        tell(f"{len(piles.not_run)} steps not run, because they need steps that failed", style="red", quiet=quiet)
    return piles
