"""The curve of a running training: its position, and its losses so far as a few means, for others to read."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oneticket.ground import clock
from oneticket.training.loop import Run

EVERY = 0.5  # seconds between two looks
POINTS = 200  # of a whole training at most; each is the mean of as many losses


@dataclass(kw_only=True)
class _Seen:
    """One training, as far as it was looked at: `means` are in host memory, `coming` on their way there."""

    run: Run
    until: int
    position: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    means: list[float | None] = field(default_factory=list)
    coming: deque[tuple[Tensor, torch.cuda.Event | None]] = field(default_factory=deque)

    @property
    def each(self) -> int:
        """How many losses a point is the mean of."""
        return -(-len(self.run.losses) // POINTS)


class Curve:
    """A watcher that now and then takes the means of new losses. It never waits for the device: `told` does."""

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
            host = torch.empty(count, dtype=means.dtype, pin_memory=means.is_cuda)
            host.copy_(means, non_blocking=means.is_cuda)
            copied = torch.cuda.current_stream(run.device).record_event() if means.is_cuda else None
            seen.coming.append((host, copied))
            seen.until = end
        seen.position, seen.seconds = run.position, run.seconds
        seen.lr = float(run.optimizers[0].param_groups[0]["lr"])

    def told(self) -> dict[str, object] | None:
        """What there is to tell, as plain JSON; None before the first look. One thread may ask while another trains.

        `position` of `total` optimizer steps of the schedule, of which `start` is the first; `losses`: each the mean of
        `each` steps, None where it is not finite; `lr`; `seconds` so far.
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
