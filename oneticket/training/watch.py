"""Watchers: they read a run between two steps and never change it. Nothing else in a training waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from oneticket.ground import clock
from oneticket.ground.errors import TrainingError
from oneticket.training import checkpoint
from oneticket.training.loop import Run

Watcher = Callable[[Run], None]


def watched(steps: Iterable[int], run: Run, watchers: Iterable[Watcher]) -> Iterator[int]:
    """The same steps; after each step every watcher is called, in the order given."""
    watchers = tuple(watchers)
    for position in steps:
        for watch in watchers:
            watch(run)
        yield position


def finite(stop: int, *, every: int) -> Watcher:
    """Stop a run whose loss became NaN or infinite: TrainingError with the step, the learning rate and what to try.

    It checks all new losses every so many steps, and at step `stop`. The error names the first step with such a loss,
    and the learning rate at the time of the check.
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


class Keeper:
    """A watcher that writes a checkpoint every `seconds`, and when it is asked to stop.

    A step waits only until the run is copied. A thread writes the copy, and the next copy is made after that. When it
    is asked to stop, the keeper waits until the checkpoint is written and raises KeyboardInterrupt. The end of its
    `with` block waits as well. If a checkpoint cannot be written, the next wait raises the StoreError; the end of the
    block raises it if no other error is under way.
    """

    def __init__(self, slot: checkpoint.Slot | None, *, seconds: float, stop: Callable[[], bool]) -> None:
        self._slot, self._seconds, self._stop = slot, seconds, stop
        self._last = clock.now()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __call__(self, run: Run) -> None:
        stopping = self._stop()
        if self._slot is not None and (stopping or self._due()):
            self._wait()
            self._writing = self._writer.submit(checkpoint.snapshot(run).write, self._slot)
            self._last = clock.now()
        if stopping:
            self._wait()
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._writer.shutdown()
        if error is None:
            self._wait()

    def _due(self) -> bool:
        return clock.now() - self._last >= self._seconds and (self._writing is None or self._writing.done())

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
