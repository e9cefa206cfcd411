"""Memory: how much of it this process can hope for, asked before a file's content is allocated."""

from __future__ import annotations

import os
import re
from pathlib import Path

from oneticket.ground.errors import FileError


def memory() -> int | None:
    """The bytes of memory available to this process within its container; None where unknown."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if _FREE.is_file() and (free := re.search(r"MemAvailable:\s+(\d+) kB", _FREE.read_text("ascii"))):
            machine = 1024 * int(free[1])
        limit = _LIMIT.read_text("ascii").strip() if _LIMIT.is_file() else ""
        return min(machine, int(limit)) if limit.isdecimal() else machine
    except (AttributeError, OSError, ValueError):
        return None


def afford(needed: int, what: str) -> None:
    """Raise FileError if a file's content would take more than all free memory; asked before any of it is allocated."""
    there = memory()
    if there is not None and needed > there:
        raise FileError(
            f"{what} would take about {needed:,} bytes of memory, but only {there:,} are free here; it was not read"
        )


_LIMIT = Path("/sys/fs/cgroup/memory.max")
_FREE = Path("/proc/meminfo")
