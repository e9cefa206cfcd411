"""A side of a comparison: a stack in a process of its own, pinned where asked, and timed from here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
os.environ.setdefault("ONETICKET_DATA", str(DATA))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles our modules anew, and no others
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # every side says itself how many it takes
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in THREADS}


def lacking() -> str:
    """Why the data are not available; empty if they are."""
    home = Path(ENVIRONMENT["ONETICKET_DATA"])
    return "" if (home / "zalando-datasets").is_dir() else "no copy of Fashion-MNIST and CIFAR-10 under ONETICKET_DATA"


class Side:
    """One process, or several side by side with one thread each, each on a core of its own."""

    def __init__(self, stack: str, model: str, *, level: int = 0, abreast: int = 1, threads: int = 2) -> None:
        asked = [sys.executable, "-m", "benchmarks.stacks", stack, model]
        self.processes = []
        for core in range(abreast):
            pinned, count = (["taskset", "-c", str(core)], 1) if abreast > 1 else ([], threads)
            command = [*pinned, *asked, str(count), str(level)]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT
            )
            self.processes.append(process)

    def seconds(self, steps: int) -> float:
        """How long each process takes for so many steps at once, or for an evaluation (0): the slowest counts."""
        began = time.perf_counter()
        for process in self.processes:
            assert process.stdin
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        for process in self.processes:
            assert process.stdout
            if process.stdout.readline() != "done\n":
                raise RuntimeError(f"{process.args}: ended with {process.wait()}")
        return time.perf_counter() - began

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.communicate()


@contextmanager
def sides(made: Sequence[Side], *, warm: int = 3) -> Iterator[None]:
    """These sides, each warm after a few steps, for as long as the block runs."""
    with ExitStack() as after:
        for side in made:
            after.callback(side.close)
        for side in made:
            side.seconds(warm)
        yield
