"""Watchers: they look at a run between two steps and never change it. Only they wait for the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from oneticket.ground import clock
from oneticket.ground.errors import TrainingError
from oneticket.training import checkpoint
from oneticket.training.loop import Run

Watcher = Callable[[Run], None]


def watched(steps: Iterable[int], run: Run, watchers: Iterable[Watcher]) -> Iterator[int]:
    """The same steps, each shown to every watcher, in the order given."""
    watchers = tuple(watchers)
    for position in steps:
        for watch in watchers:
            watch(run)
        yield position


def finite(stop: int, *, every: int) -> Watcher:
    """Stop a run whose loss became NaN or infinite: TrainingError with the step, the learning rate and what to try.

    Looks at `stop` and every so many steps, at all losses since its last look: the step it names is the first bad one,
    the learning rate that of the look.
    """
    seen = [0]

    def watch(run: Run) -> None:
        if run.position % every and run.position != stop:
            return
        since, seen[0] = seen[0], run.position
        bad = (~run.losses[since : run.position].isfinite()).nonzero()
        if len(bad):
            step = since + int(bad[0])
            lr = run.optimizers[0].param_groups[0]["lr"]
            raise TrainingError(
                f"the loss is {float(run.losses[step])} at step {step} (lr {lr:g}); "
                "try a lower --lr, a --warmup such as 100it, or --clip 1.0"
            )

    return watch


def keeper(slot: checkpoint.Slot | None, *, seconds: float, stop: Callable[[], bool]) -> Watcher:
    """Write a checkpoint when `seconds` have gone by since the last, and when asked to stop: then KeyboardInterrupt."""
    last = [clock.now()]

    def watch(run: Run) -> None:
        stopping = stop()
        if slot is not None and (stopping or clock.now() - last[0] >= seconds):
            checkpoint.save(slot, run)
            last[0] = clock.now()
        if stopping:
            raise KeyboardInterrupt

    return watch
