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


def spoken(seconds: float) -> str:
    """A length of time in words.

    >>> spoken(42), spoken(600), spoken(9000), spoken(1e6)
    ('42 s', '10 min', '2 h 30 min', '12 days')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{round(minutes / 1440):,} days"
