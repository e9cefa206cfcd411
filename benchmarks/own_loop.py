"""What a mask costs or saves in one's own loop: a step under `attach`, of `Compacted` and of others, over a dense one.

`python -m benchmarks.own_loop` prints a line for each. Two copies of a network with the same starting weights train on
the same batch of noise, one dense; blocks of steps take turns, and a ratio is of neighbouring blocks. It is of this
thread's CPU time, since others may be busy; the note has the wall time's. One thread, fused SGD with momentum.
"""

from __future__ import annotations

import copy
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

from benchmarks.guard import mlp
from benchmarks.row import Row, row
from oneticket.compact.in_loop import Compacted
from oneticket.guard.guard import attach
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask


class Peer:
    """Another way to hold a mask: what it does before the forward pass, before the optimizer's step, and after it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, mask: Mask, **_: object) -> None:
        self.model, self.optimizer = model, optimizer
        self.pairs = [(model.get_parameter(name), remaining.float()) for name, remaining in mask.items()]
        for at, (weight, pattern) in enumerate(self.pairs):
            self.pairs[at] = weight, torch.empty_like(weight, requires_grad=False).copy_(pattern)

    def before(self) -> None: ...

    def between(self) -> None: ...

    def after(self) -> None: ...


class Before(Peer):
    """Weights are multiplied by their masks before every forward pass."""

    @torch.no_grad()
    def before(self) -> None:
        """Multiply."""
        for weight, pattern in self.pairs:
            weight.mul_(pattern)


class Gradients(Peer):
    """Gradients are multiplied by float masks."""

    @torch.no_grad()
    def between(self) -> None:
        """Multiply."""
        for weight, pattern in self.pairs:
            weight.grad.mul_(pattern)


class Floats(Gradients):
    """Gradients, and weights after the step, are multiplied by float masks."""

    @torch.no_grad()
    def after(self) -> None:
        """Multiply."""
        for weight, pattern in self.pairs:
            weight.mul_(pattern)


class Torch(Peer):
    """PyTorch's own pruning: parametrised weights, whose masks are buffers."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, mask: Mask, **_: object) -> None:
        super().__init__(model, optimizer, Mask({}))
        for name, remaining in mask.items():
            owner, _, last = name.rpartition(".")
            prune.custom_from_mask(model.get_submodule(owner), last, remaining)
        optimizer.param_groups[0]["params"] = [*model.parameters()]


class Side:
    """A loop: what it calls, its optimizer, its batch."""

    def __init__(self, model: nn.Module, images: Tensor, held: Callable[..., Any], mask: Mask | None) -> None:
        self.model = self.called = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
        self.images, self.labels = images, torch.arange(len(images)) % 10
        self.holding = held(model, self.optimizer, mask, example=images) if mask is not None else None
        self.peer = self.holding if isinstance(self.holding, Peer) else Peer(model, self.optimizer, Mask({}))
        if isinstance(self.holding, Compacted):
            self.called = self.holding.network

    def steps(self, count: int) -> tuple[float, float]:
        """CPU and wall seconds of so many steps."""
        cpu, wall = time.thread_time(), time.perf_counter()
        for _ in range(count):
            self.optimizer.zero_grad()
            self.peer.before()
            cross_entropy(self.called(self.images), self.labels).backward()
            self.peer.between()
            self.optimizer.step()
            self.peer.after()
        return time.thread_time() - cpu, time.perf_counter() - wall


def measured(name: str, shape: tuple[int, ...], batch: int, density: float, held: str, block: int, n: int) -> Row:
    """The row of one case; the targets are those of kernels."""
    generator = torch.Generator().manual_seed(0)
    known = name not in WIDTHS
    dense = build(ModelSpec(name=name), inputs=Inputs(shape=shape), outputs=10, seed=0) if known else mlp(*WIDTHS[name])
    dense.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, *shape, generator=generator)
    weights = {each: dense.get_parameter(each) for each in prunable(dense)}
    mask = Mask({each: torch.rand(weight.shape, generator=generator) < density for each, weight in weights.items()})
    sparse = copy.deepcopy(dense)
    with torch.no_grad():
        for each, pattern in mask.items():
            sparse.get_parameter(each).mul_(pattern)
    sides = Side(sparse, images, HELD[held], mask), Side(dense, images, HELD[held], None)
    for side in sides:
        side.steps(block)
    turns = [[side.steps(block) for side in sides] for _ in range(n)]
    cpu, wall = ([ours[at] / bare[at] for ours, bare in turns] for at in (0, 1))
    early = held == "attach" and "numba" not in sys.modules
    what = f"own loop, {held}{EARLY if early else ''} / dense step: {name}, {shape[-1]} x {shape[-1]}, batch {batch}, "
    what += f"{100 * density:.0f} % of the weights remain"
    low, middle, high = statistics.quantiles(cpu)
    note = f"CPU time, quartiles; wall time {statistics.median(wall):.2f}; blocks of {block} steps; one thread"
    target = "" if early else TARGETS.get((name, batch, density, held), "")
    return row(what, cpu, target=target, note=note) | {
        "value": middle,
        "low": low,
        "high": high,
    }


def rows() -> list[Row]:
    """All that is measured here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = [measured(*case) for case in CASES if case[4] == "attach"]
    importlib.import_module("numba")
    made += [measured(*case) for case in CASES]
    torch.set_num_threads(threads)
    return made


EARLY = " without numba or before it is loaded"
HELD: dict[str, Callable[..., Any]] = {
    "attach": lambda model, optimizer, mask, example: attach(model, optimizer, mask),  # noqa: ARG005 - needs none
    "Compacted": Compacted,
    "torch.nn.utils.prune": Torch,
    "masks before the forward pass": Before,
    "float masks on gradients": Gradients,
    "float masks on gradients and weights": Floats,
}
WIDTHS = {"MLP of 1 M": (1000, 300), "MLP of 10 M": (2800, 2800)}
CASES = [
    ("lenet-300-100", (1, 8, 8), 64, 0.1, "attach", 40, 40),
    ("lenet-300-100", (1, 28, 28), 128, 0.1, "attach", 12, 40),
    ("lenet-300-100", (1, 28, 28), 128, 0.1, "Compacted", 12, 40),
    ("lenet-300-100", (1, 28, 28), 128, 0.02, "Compacted", 12, 40),
    ("resnet-20", (3, 32, 32), 128, 0.1, "Compacted", 1, 12),
    ("MLP of 1 M", (1, 28, 28), 128, 0.1, "attach", 4, 40),
    ("MLP of 10 M", (1, 28, 28), 128, 0.1, "attach", 1, 80),
    *(("lenet-300-100", (1, 28, 28), 128, 0.1, peer, 12, 40) for peer in HELD if peer not in ("attach", "Compacted")),
]
TARGETS = {
    ("lenet-300-100", 64, 0.1, "attach"): "<= 1.10",
    ("lenet-300-100", 128, 0.1, "attach"): "<= 1.04",
    ("lenet-300-100", 128, 0.1, "Compacted"): "<= 0.62",
    ("lenet-300-100", 128, 0.02, "Compacted"): "<= 0.52",
    ("resnet-20", 128, 0.1, "Compacted"): "<= 0.70",
    ("MLP of 1 M", 128, 0.1, "attach"): "<= 1.03",
    ("MLP of 10 M", 128, 0.1, "attach"): "<= 1.03",
}

if __name__ == "__main__":
    for found in rows():
        print(f"{found['what']:80} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}, n = {found['n']})")
        print(f"    target {found['target']}; {found['note']}")
