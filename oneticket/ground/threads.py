"""How many CPU threads torch computes with, and how many cores there are.

Another number of threads sums in another order, so results differ by rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cores() -> int:
    """How many cores this process may use, within its container too.

    >>> cores() >= 1
    True
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time, _, period = _LIMIT.read_text("ascii").partition(" ")
        return max(1, min(here, int(time) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no container, or one without a limit
        return here


_LIMIT = Path("/sys/fs/cgroup/cpu.max")


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads in a block, and put the number back; None leaves torch's own number.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with threads(before + 1):
    ...     print(torch.get_num_threads() - before)
    1
    >>> torch.get_num_threads() == before
    True
    """
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
