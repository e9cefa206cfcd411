"""Whole processes, timed in turn beside `import torch`: CPU seconds, with wall seconds beside them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.row import Row, row
from benchmarks.side import ENVIRONMENT, ROOT

TORCH = "import torch"


class Spent(NamedTuple):
    """CPU seconds of a process and all that it waited for, and wall seconds."""

    cpu: float
    wall: float


def spent(arguments: Sequence[str], *, cache: str = "", folder: str | Path = ROOT, threads: int | None = 1) -> Spent:
    """What a Python process with these arguments took; `cache`: its cache folder; `threads`: None for its own."""
    process, began = started(arguments, subprocess.DEVNULL, cache=cache, folder=folder, threads=threads)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: ended with {process.returncode}")
    return Spent(cpu=used.ru_utime + used.ru_stime, wall=time.perf_counter() - began)


def first_words(arguments: Sequence[str], *, cache: str = "") -> float:
    """Wall seconds until a Python process prints something on its terminal; it is ended then."""
    ours, theirs = os.openpty()
    try:
        process, began = started(arguments, theirs, cache=cache)
        os.read(ours, 1)
        taken = time.perf_counter() - began
        process.kill()
        process.wait()
        return taken
    finally:
        os.close(theirs)
        os.close(ours)


def started(
    arguments: Sequence[str], to: int, *, cache: str = "", folder: str | Path = ROOT, threads: int | None = 1
) -> tuple[subprocess.Popen[bytes], float]:
    """A Python process that prints there, and when it was started."""
    around = {**ENVIRONMENT, "PYTHONPATH": str(ROOT), **({"ONETICKET_CACHE": cache} if cache else {})}
    around |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=around, stdout=to, stderr=to), began


def in_turn(sides: Mapping[str, Callable[[], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """What each side took in each round, beside `import torch`; a round before the first warms the files."""
    every = {TORCH: lambda: spent(["-c", TORCH]), **sides}
    found: dict[str, list[Spent]] = {name: [] for name in every}
    for number in range(rounds + 1):
        for name in [*every][:: 1 if number % 2 else -1]:
            taken = every[name]()
            if number:
                found[name].append(taken)
    return found


def over_torch(what: str, found: Mapping[str, Sequence[Spent]], name: str, target: str, note: str = "") -> Row:
    """A side's CPU time over that of `import torch`, round by round, with the ratio of wall times in the note."""
    pairs = [*zip(found[name], found[TORCH], strict=True)]
    cpu = statistics.median(one.cpu for one in found[name])
    wall = statistics.median(one.wall / torch.wall for one, torch in pairs)
    said = f"{cpu:.2g} s of CPU time; by wall time {wall:.3g}"
    return row(f"{what} / {TORCH}", [one.cpu / torch.cpu for one, torch in pairs], target=target, note=f"{said}{note}")
