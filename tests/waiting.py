"""Waiting for events: no test depends on how busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

FOREVER = 1800.0
"""Seconds after which whatever is waited for has failed: a limit for what is broken, never a measurement."""


def until(came: Callable[[], object], what: str) -> None:
    """Wait until it came; an error says what did not."""
    end = time.monotonic() + FOREVER
    while not came():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.01)
