"""The clock. It paces progress and checkpoints and fills provenance; no result depends on it."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds on a clock that never goes back."""
    return time.monotonic()


def worked() -> float:
    """Seconds that this thread has computed, however busy the machine is with other things."""
    return time.thread_time()


def date() -> str:
    """The moment in UTC, to the second, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
