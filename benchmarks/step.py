"""What one step costs: oneticket's loop beside the floor, and the choices within it beside what was not chosen.

`python -m benchmarks.step` prints a line for each. The floor is a bare PyTorch loop over normalised images in memory:
no masks, no logging, no augmentation, torch's own optimizer, fused. Both sides take turns, a few steps each, in one
process; a ratio is the median of those of neighbouring turns. Level 0: a full mask, guarded; batch 128; images are
noise.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.row import Row, row
from oneticket.data.batches import batches, per_epoch
from oneticket.data.data import Data, Examples
from oneticket.data.reading import Part, Reading
from oneticket.ground.streams import Streams
from oneticket.guard.guard import attach
from oneticket.models.build import build as build_model
from oneticket.models.parts import head, prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.inputs import Inputs
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.mask import Mask
from oneticket.training import checkpoint
from oneticket.training.loop import Run, train
from oneticket.training.spec import TrainingSpec
from oneticket.training.watch import Keeper, finite, watched

BATCH, ENDLESS = 128, 10**6
STREAMS = Streams(root=0, replicate=0)
SHAPES = {"lenet-300-100": (1, 28, 28), "resnet-20": (3, 32, 32), "vgg-19": (3, 32, 32)}
TURNS = {"lenet-300-100": (20, 60), "resnet-20": (1, 12), "vgg-19": (1, 3)}  # steps in a turn, turns
Side = Iterator[object]


class Nothing(nn.Module):
    """A network that computes next to nothing, so that what is left of a step is the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10))

    def forward(self, images: Tensor) -> Tensor:
        """The same for every image."""
        return self.weight.expand(len(images), 10)


def noise(shape: tuple[int, int, int], *, count: int = 60_000, augmented: bool = False) -> Data:
    """A set of images like Fashion-MNIST's or CIFAR-10's."""
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)
    part = Examples(inputs=images, targets=torch.randint(10, (count,), generator=generator))
    half = (0.5,) * shape[0]
    return Data(
        train=part,
        test=part,
        inputs=Inputs(shape=shape),
        outputs=10,
        classes=tuple("0123456789"),
        mean=half,
        std=half,
        digest="",
        device=device,
        reading=reading(count),
        flip=augmented,
        crop=4 * augmented,
    )


def reading(count: int) -> Reading:
    """How a set was read that was made here."""
    part = Part(origin="noise", examples=count, classes=10)
    return Reading(where="noise", classes=tuple("0123456789"), train=part, test=part)


def network(name: str, *, last: bool = True) -> nn.Module:
    """A network by its name, its convolutions in channels_last or not."""
    made = build_model(ModelSpec(name=name), inputs=Inputs(shape=SHAPES[name]), outputs=10, seed=0)
    return made.to(memory_format=torch.channels_last) if last else made  # type: ignore[call-overload, no-any-return]


def floor(model: nn.Module, data: Data, optimizer: str = "sgd") -> Side:
    """The bare loop, endless, a step at a time."""
    assert isinstance(data.train, Examples)
    images, labels = (data.train.inputs.float() / 255 - 0.5) / 0.5, data.train.targets
    step = OPTIMIZERS[optimizer](model)
    model.train()
    while True:
        order = torch.randperm(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            rows = order[at : at + BATCH]
            loss = cross_entropy(model(images[rows]), labels[rows])
            step.zero_grad()
            loss.backward()
            step.step()
            yield loss


def ours(model: nn.Module, data: Data, optimizer: str = "sgd", *, precision: str = "float32") -> Side:
    """The same by oneticket: guard, loop, and those who watch every training."""
    run, steps = begun(model, data, optimizer, precision)
    names = [] if isinstance(model, Nothing) else prunable(model)
    with (
        attach(model, run.optimizers, Mask.full({name: model.get_parameter(name) for name in names})),
        Keeper(None, seconds=20, stop=lambda: False) as keep,
    ):
        yield from watched(steps, run, [finite(ENDLESS, every=50), keep])


def begun(model: nn.Module, data: Data, optimizer: str = "sgd", precision: str = "float32") -> tuple[Run, Side]:
    """A run at its first step, and its steps."""
    spec, training = (
        OptimizerSpec(name=optimizer),
        TrainingSpec(budget=f"{ENDLESS}it", batch=BATCH, precision=precision),
    )  # type: ignore[arg-type]
    made = build_optimizers(spec, model, head=() if isinstance(model, Nothing) else head(model))
    run = Run.begin(model, made, precision=precision, position=0, total=ENDLESS)
    feed = batches(data, batch=BATCH, streams=STREAMS, start=0, stop=ENDLESS)
    length = per_epoch(data, BATCH)
    return run, train(
        run,
        feed,
        task=CLASSIFICATION,
        training=training,
        optimizer=spec,
        streams=STREAMS,
        per_epoch=length,
        stop=ENDLESS,
    )


def turns(a: Side, b: Side, block: int, n: int) -> list[tuple[float, float]]:
    """Seconds a step of each side, in turn."""
    for side in (a, b):
        list(islice(side, 3 * block))
    found = []
    for _ in range(n):
        seconds = []
        for side in (a, b):
            began = time.perf_counter()
            list(islice(side, block))
            seconds.append((time.perf_counter() - began) / block)
        found.append((seconds[0], seconds[1]))
    return found


def ratio(what: str, name: str, a: Side, b: Side, *, target: str = "", note: str = "") -> Row:
    """The row of how long a step of `a` takes beside one of `b`."""
    found = turns(a, b, *TURNS[name])
    each = f"{1000 * statistics.median(one for one, _ in found):.3g} ms a step"
    return row(f"{what}, {name}", [one / other for one, other in found], target=target, note=note or each)


def beside_floor() -> list[Row]:
    """Guard and loop at level 0, beside the floor in the same and in torch's default layout."""
    target, grey, colour = "<= 1.05", noise((1, 28, 28)), noise((3, 32, 32), count=20_000)
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        words = f"{threads} thread{'s'[: threads > 1]}"
        for optimizer in OPTIMIZERS:
            name = "lenet-300-100"
            one, other = ours(network(name), grey, optimizer), floor(network(name), grey, optimizer)
            rows.append(ratio(f"step / floor, {optimizer}, {words}", name, one, other, target=target))
        name = "resnet-20"
        for last in (False, True):
            layout = "channels_last" if last else "default"
            for augmented in (False, True):
                data = noise((3, 32, 32), count=20_000, augmented=True) if augmented else colour
                kind = f"step{' with augmentation' * augmented} / floor in the {layout} layout, {words}"
                rows.append(
                    ratio(kind, name, ours(network(name), data), floor(network(name, last=last), colour), target=target)
                )
    torch.set_num_threads(1)
    return rows


def within() -> list[Row]:
    """Layout, precision and compilation, one thread."""
    grey, colour = noise((1, 28, 28)), noise((3, 32, 32), count=20_000)
    rows = [
        ratio(
            "channels_last / default",
            "resnet-20",
            floor(network("resnet-20"), colour),
            floor(network("resnet-20", last=False), colour),
        )
    ]
    for name, data in (("lenet-300-100", grey), ("resnet-20", colour)):
        rows.append(
            ratio(
                "bfloat16 / float32", name, ours(network(name), data, precision="bfloat16"), ours(network(name), data)
            )
        )
        compiled = network(name)
        compiled.forward = torch.compile(compiled.forward)
        began = time.perf_counter()
        side = ours(compiled, data)
        next(iter(side))
        took = f"the first step takes {time.perf_counter() - began:.0f} s"
        rows.append(ratio("compiled / not", name, side, ours(network(name), data), note=took))
    return rows


def fixed() -> list[Row]:
    """What a step costs where the network costs nothing."""
    data = noise((1, 28, 28))
    found = turns(ours(Nothing(), data), floor(Nothing(), data), 100, 40)
    return [
        row("the loop alone, batch and optimizer included", [1e6 * one for one, _ in found], "us"),
        row("the loop alone, more than the floor", [1e6 * (one - other) for one, other in found], "us"),
    ]


def checkpoints() -> list[Row]:
    """What a checkpoint costs the step that takes it, and what it would if that step waited for the disk."""
    rows = []
    for name in SHAPES:
        run, steps = begun(network(name), noise(SHAPES[name], count=1000))
        list(islice(steps, 2))
        with tempfile.TemporaryDirectory() as folder:
            slot = checkpoint.File(Path(folder) / "run")
            asked: dict[str, Callable[[], object]] = {
                "a checkpoint, in the step": lambda run=run: checkpoint.snapshot(run),  # type: ignore[misc]
                "a checkpoint, with the disk": lambda run=run, slot=slot: checkpoint.save(slot, run),  # type: ignore[misc]
            }
            seconds: dict[str, list[float]] = {what: [] for what in asked}
            for what in [*asked] * 10:
                began = time.perf_counter()
                asked[what]()
                seconds[what].append(time.perf_counter() - began)
        rows += [row(f"{what}, {name}", [1000 * value for value in values], "ms") for what, values in seconds.items()]
    return rows


def rows() -> list[Row]:
    """All of them."""
    torch.set_num_threads(1)
    return [*beside_floor(), *fixed(), *within(), *checkpoints()]


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, fused=True),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3, fused=True),
}

if __name__ == "__main__":
    for part in (beside_floor, fixed, within, checkpoints):
        for found in part():
            print(
                f"{found['what']:62} {found['value']:8.3f} {found['unit']:3} "
                f"{found['low']:8.3f} to {found['high']:8.3f}  n = {found['n']}  {found['note']}",
                flush=True,
            )
