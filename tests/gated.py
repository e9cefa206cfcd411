"""Networks of the user's own that wait at a gate, or do harm to their process, for tests of engines."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from oneticket.ground import disk
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store import names
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin

QUICK = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    training={"budget": "6it", "batch": 32},
    rewind="2it",
)
ITERATIONS, LONG = 200, 1000
GATE = 40
SLOW = """
import os, threading
from torch import nn

begun = 0

def most():
    with open({gate!r}) as file:
        return int(file.read())

class Slow(nn.Module):
    def harm(self):
        global begun
        begun += 1
        while begun > most():
            threading.Event().wait(0.01)
        with open({log!r}, "a") as file:
            file.write(f"{{os.getpid()}}\\n")

    def __init__(self, shape, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(shape[1] * shape[2], 8), nn.ReLU(), nn.Linear(8, classes))

    def forward(self, x):
        if len(x) == 32:  # a training step: neither the test set nor the trial when the network is built
            self.harm()
        return self.layers(x.flatten(1))

class Deadly(Slow):
    def harm(self):
        os.kill(os.getpid(), 9)

class Broken(Slow):
    def harm(self):
        raise KeyError("a mistake of the model's own")
"""


def steps(spec: SearchSpec = QUICK, *, levels: int = 1, replicates: int = 2) -> list[Step]:
    context = RunContext()
    return [
        step
        for replicate in range(replicates)
        for step in search_origin(spec, levels=levels, replicate=replicate, context=context).levels
    ]


def outcomes(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(store.url).rglob("*.safetensors")}


def open_gate(folder: Path, steps: int = 10**9) -> None:
    """Let each process do so many training steps since it was started."""
    disk.replace(folder / "gate", str(steps).encode())


def checkpoints(store: str | Path) -> list[Path]:
    """One of each training under way that has written any."""
    return [*Path(store, names.UNDER_WAY).glob("*.safetensors")]


def slow(name: str = "Slow", iterations: int = ITERATIONS) -> SearchSpec:
    training = {"budget": f"{iterations}it", "batch": 32}
    return QUICK.but(model=f"own_networks:{name}", training=training, rewind="0it")


def trained(folder: Path) -> Counter[int]:
    """How many training steps each process did."""
    return Counter(int(pid) for pid in (folder / "log").read_text().split())


def trained_by_two(folder: Path) -> bool:
    """Whether two processes have trained up to the gate."""
    found = trained(folder)
    return len(found) == 2 and min(found.values()) >= GATE


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
