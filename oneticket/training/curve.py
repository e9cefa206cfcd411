"""The curve of a running training, for other processes to read: its position, and means of its losses so far."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oneticket.ground import clock
from oneticket.training.loop import Run

EVERY = 0.5  # seconds between two readings
POINTS = 200  # at most, for a whole training; all points are means of equally many losses


@dataclass(kw_only=True)
class _Seen:
    """One training, as far as it was read: `means` are in host memory, `coming` are still being copied there."""

    run: Run
    until: int
    position: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    means: list[float | None] = field(default_factory=list)
    coming: deque[tuple[Tensor, torch.cuda.Event | None]] = field(default_factory=deque)

    @property
    def each(self) -> int:
        """How many losses each point averages."""
        return -(-len(self.run.losses) // POINTS)


class Curve:
    """A watcher that takes the means of new losses every `EVERY` seconds.

    The watcher never waits for the device; `report` does.
    """

    def __init__(self) -> None:
        self._looked = clock.now()
        self._seen: _Seen | None = None

    def __call__(self, run: Run) -> None:
        if clock.now() - self._looked < EVERY:
            return
        self._looked = clock.now()
        if self._seen is None or self._seen.run is not run:
            self._seen = _Seen(run=run, until=run.start)
        seen = self._seen
        count = (run.position - seen.until) // seen.each
        if count > 0:
            end = seen.until + count * seen.each
            means = run.losses[seen.until : end].detach().view(count, seen.each).mean(1)
            host = torch.empty(count, dtype=means.dtype, pin_memory=means.is_cuda, device="cpu")
            host.copy_(means, non_blocking=means.is_cuda)
            copied = torch.cuda.current_stream(run.device).record_event() if means.is_cuda else None
            seen.coming.append((host, copied))
            seen.until = end
        seen.position, seen.seconds = run.position, run.seconds
        seen.lr = float(run.optimizers[0].param_groups[0]["lr"])

    def report(self) -> dict[str, object] | None:
        """The curve as plain JSON; None before the first reading. One thread may ask while another trains.

        `position`, `start` and `total` count optimizer steps of the schedule. Each of `losses` is the mean of `each`
        steps, or None where it is not finite. `lr` is the learning rate, and `seconds` the time spent so far.
        """
        seen = self._seen
        if seen is None:
            return None
        while seen.coming:
            host, copied = seen.coming.popleft()
            if copied is not None:
                copied.synchronize()
            seen.means += [float(f"{mean:.5g}") if math.isfinite(mean) else None for mean in host.tolist()]
        return {
            "position": seen.position,
            "start": seen.run.start,
            "total": len(seen.run.losses),
            "each": seen.each,
            "losses": list(seen.means),
            "lr": seen.lr,
            "seconds": round(seen.seconds, 1),
        }
