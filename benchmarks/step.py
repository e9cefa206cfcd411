"""What a training step costs: the guard over no guard, and channels_last over the default layout.

`python benchmarks/step.py` prints ratios of medians, both sides interleaved in one run, with n and the quartiles of the
ratio of neighbouring steps. One thread. Seen on 2026-11-22 (2 shared CPU cores, AMD EPYC, torch 2.13.0; batch 128):

- the guard at 10 % density costs 1.10 [1.07, 1.13] of a step of LeNet-300-100 at 28 x 28 (n = 60), 1.02 [0.99, 1.05] of
  ResNet-20 at half width (n = 12), 1.02 [0.98, 1.04] of VGG-11 at a quarter (n = 16);
- channels_last takes 0.74 [0.70, 0.82] and 0.72 [0.66, 0.73] of the default layout's time on the latter two.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.ticket.guard import attach
from oneticket.ticket.mask import Mask

CASES = [
    ("lenet-300-100", 1.0, (1, 28, 28), 60),
    ("resnet-20", 0.5, (3, 32, 32), 12),
    ("vgg-11", 0.25, (3, 32, 32), 16),
]
BATCH = 128


class Bench:
    """One side of a comparison: a network that takes a step when called, and how long each step took."""

    def __init__(self, name: str, width: float, shape: tuple[int, int, int], *, guarded: bool, last: bool) -> None:
        self.model: nn.Module = build(ModelSpec(name=name, width=width), shape=shape, classes=10, seed=0)
        if last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(BATCH, *shape, generator=generator)
        self.labels = torch.randint(10, (BATCH,), generator=generator)
        if guarded:
            names = prunable(self.model)
            draws = {n: torch.rand(self.model.get_parameter(n).shape, generator=generator) < 0.1 for n in names}
            self.guard = attach(self.model, self.optimizer, Mask(draws))
        self.seconds: list[float] = []

    def step(self) -> None:
        """One step, timed."""
        began = time.perf_counter()
        self.optimizer.zero_grad()
        cross_entropy(self.model(self.images), self.labels).backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - began)


def compare(what: str, name: str, a: Bench, b: Bench, n: int) -> None:
    """Print how much longer a step of `a` takes than one of `b`."""
    for side in (a, b) * 2:
        side.step()
    for side in (a, b):
        side.seconds.clear()
    for _ in range(n):
        a.step()
        b.step()
    low, _, high = statistics.quantiles([x / y for x, y in zip(a.seconds, b.seconds, strict=True)])
    ratio = statistics.median(a.seconds) / statistics.median(b.seconds)
    print(f"{what:28} {name:14} {ratio:5.2f}  quartiles {low:.2f} to {high:.2f}  n = {n}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, width, shape, n in CASES:
        plain = Bench(name, width, shape, guarded=False, last=True)
        compare("guard / no guard, 10 % live", name, Bench(name, width, shape, guarded=True, last=True), plain, n)
        if len(shape) == 3 and shape[0] == 3:
            other = Bench(name, width, shape, guarded=False, last=False)
            compare("channels_last / default", name, plain, other, n)
