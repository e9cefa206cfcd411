"""The logs of other libraries: silent while we report in our own words what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Nothing below an error from the loggers of these names and those within them.

    >>> with silenced("their.library"):
    ...     logging.getLogger("their.library.part").isEnabledFor(logging.WARNING)
    False
    >>> logging.getLogger("their.library.part").isEnabledFor(logging.WARNING)
    True
    """
    logs = [logging.getLogger(name) for name in names]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)
