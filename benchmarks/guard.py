"""What the guard costs: a training step with it over one without, and its bytes per prunable weight.

`python benchmarks/guard.py` prints medians, with n and the quartiles. A ratio is of neighbouring blocks of steps of one
and the same network, to which the guard is attached for every other block, so that both sides have the same memory;
one thread, batch 128, 10 % of the weights remain or, at level 0, all; numba is loaded.
"""

from __future__ import annotations

import gc
import importlib
import statistics
import time
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.row import row
from oneticket.guard.guard import attach
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask

BATCH, DENSITY = 128, 0.1


class Bench:
    """A network, its optimizer, a batch, and a mask that can be held or not."""

    def __init__(self, network: str, optimizer: str, density: float) -> None:
        generator = torch.Generator().manual_seed(0)
        shape, self.model = NETWORKS[network]()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.images = torch.randn(BATCH, *shape, generator=generator)
        self.labels = torch.randint(10, (BATCH,), generator=generator)
        weights = {name: self.model.get_parameter(name) for name in prunable(self.model)}
        self.mask = Mask({name: torch.rand(w.shape, generator=generator) < density for name, w in weights.items()})

    def steps(self, count: int) -> float:
        """Seconds for so many steps."""
        began = time.perf_counter()
        for _ in range(count):
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.images), self.labels).backward()
            self.optimizer.step()
        return time.perf_counter() - began

    def ratio(self, block: int) -> float:
        """Seconds of a block of steps under the guard over those of the block before."""
        self.steps(1)
        plain = self.steps(block)
        with attach(self.model, self.optimizer, self.mask):
            self.steps(1)
            return self.steps(block) / plain


def mlp(*widths: int) -> nn.Module:
    """Linear layers with ReLU between, on images of 28 x 28."""
    layers = [nn.Linear(into, out) for into, out in zip((784, *widths), (*widths, 10), strict=True)]
    return nn.Sequential(nn.Flatten(), *[part for layer in layers for part in (layer, nn.ReLU())][:-1])


class Encoder(nn.Module):
    """A Transformer's encoder over 28 words of 28 numbers, the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Linear(28, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(256, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        out: torch.Tensor = self.head(self.encoder(self.words(images.squeeze(1))).mean(1))
        return out


def vgg() -> nn.Module:
    """VGG-11 for images of 32 x 32 in colour."""
    return build(ModelSpec(name="vgg-11"), inputs=Inputs(shape=(3, 32, 32)), outputs=10, seed=0)


def resnet() -> nn.Module:
    """ResNet-20 for images of 32 x 32 in colour."""
    return build(ModelSpec(name="resnet-20"), inputs=Inputs(shape=(3, 32, 32)), outputs=10, seed=0)


def kept(network: str) -> float:
    """Bytes of the tensors that a guard brings along, per prunable weight."""

    def total() -> int:
        gc.collect()
        tensors = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, nn.Parameter)]
        storages = [tensor.untyped_storage() for tensor in tensors]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    bench = Bench(network, "SGD momentum", DENSITY)
    bench.steps(1)
    before = total()
    with attach(bench.model, bench.optimizer, bench.mask):
        return (total() - before) / bench.mask.total


def rows() -> list[dict[str, Any]]:
    """All that is measured here."""
    importlib.import_module("numba")  # so that guards take its kernels at once
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = []
    for network, optimizer, density, block, n, target in CASES:
        bench = Bench(network, optimizer, density)
        bench.ratio(block)
        low, middle, high = statistics.quantiles([bench.ratio(block) for _ in range(n)])
        what = f"guarded / unguarded step: {network}, {optimizer}, " + (
            "level 0" if density == 1 else "10 % of the weights remain"
        )
        facts = {"what": what, "ratio": middle, "low": low, "high": high, "n": n, "unit": "x", "target": target}
        made.append(facts | {"note": f"quartiles; blocks of {block} steps; {NOTES.get(optimizer, 'one thread')}"})
    torch.set_num_threads(threads)
    note = "one byte, and 520 B a parameter; while it zeroes 1 MiB more; beside the mask as stored, 1/8 B"
    for network in ("LeNet-300-100", "MLP of 10 M"):
        what = f"guard: its tensors, per prunable weight: {network}"
        made.append(row(what, [kept(network)], "B", target="<= 1", note=note))
    return made


NETWORKS = {
    "LeNet-300-100": lambda: ((1, 28, 28), mlp(300, 100)),
    "MLP of 1 M": lambda: ((1, 28, 28), mlp(1000, 300)),
    "MLP of 10 M": lambda: ((1, 28, 28), mlp(2800, 2800)),
    "ResNet-20": lambda: ((3, 32, 32), resnet()),
    "VGG-11 of 9 M": lambda: ((3, 32, 32), vgg()),
    "Transformer of 3 M": lambda: ((1, 28, 28), Encoder()),
}
OPTIMIZERS = {
    "SGD momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-4, fused=True),
    "Adam, not fused": lambda parameters: torch.optim.Adam(parameters, lr=1e-4),
}
NOTES = {"Adam, not fused": "here MKL's square root takes six times as long for zeros, and moments are zero"}
CASES = [
    ("LeNet-300-100", "SGD momentum", 1.0, 8, 60, "<= 1.05"),
    ("ResNet-20", "SGD momentum", 1.0, 1, 6, "<= 1.05"),
    ("LeNet-300-100", "SGD momentum", DENSITY, 8, 60, "<= 1.05"),
    ("LeNet-300-100", "Adam", DENSITY, 8, 60, "<= 1.05"),
    ("LeNet-300-100", "Adam, not fused", DENSITY, 8, 60, ""),
    ("MLP of 1 M", "SGD momentum", DENSITY, 4, 40, "<= 1.03"),
    ("MLP of 1 M", "Adam", DENSITY, 4, 40, "<= 1.03"),
    ("MLP of 10 M", "SGD momentum", DENSITY, 1, 20, "<= 1.03"),
    ("MLP of 10 M", "Adam", DENSITY, 1, 20, "<= 1.03"),
    ("VGG-11 of 9 M", "SGD momentum", DENSITY, 1, 10, "<= 1.03"),
    ("Transformer of 3 M", "Adam", DENSITY, 1, 10, "<= 1.03"),
    ("ResNet-20", "SGD momentum", DENSITY, 1, 10, "<= 1.05"),
    ("ResNet-20", "Adam", DENSITY, 1, 10, "<= 1.05"),
]

if __name__ == "__main__":
    for row in rows():
        spread = f"quartiles {row['low']:.3f} to {row['high']:.3f}  n = {row['n']}" if row["n"] > 1 else ""
        print(f"{row['what']:72} {row['ratio']:6.3f} {row['unit']}  {spread}  {row['target']}")
