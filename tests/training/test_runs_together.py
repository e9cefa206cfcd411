"""Runs together: each as it would be alone to float tolerance, resumed to the bit, and held by one guard."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from tables import MODELS, OPTIMIZERS
from torch import Tensor, nn

from oneticket.data.batches import batches, per_epoch
from oneticket.data.data import Data
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.streams import Streams
from oneticket.guard.guard import attach
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.mask import Mask
from oneticket.training import checkpoint
from oneticket.training.loop import Run, train
from oneticket.training.spec import TrainingSpec
from oneticket.training.vmap_training import Together

pytestmark = pytest.mark.convolutions

COUNT, BATCH = 3, 32
TRAINING = TrainingSpec(budget="12it", batch=BATCH, smoothing=0.1, clip=1.0)
SGD = OptimizerSpec(name="sgd")
ENTRYWISE = [name for name, plain in OPTIMIZERS.items() if OptimizerSpec.read(plain).elementwise]


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(DataSpec(name="digits", per_class=20, crop=1))


def begin(data: Data, model: ModelSpec, optimizer: OptimizerSpec = SGD) -> list[Run]:
    runs = []
    for seed in range(COUNT):
        net = build(model, inputs=data.inputs, outputs=10, seed=seed).to(memory_format=torch.channels_last)
        made = build_optimizers(optimizer, net, head=head(net))
        runs.append(Run.begin(net, made, precision="float32", position=0, total=12, about=str(seed)))
    return runs


def feed(data: Data, seed: int, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
    streams = Streams(root=0, replicate=seed)
    return batches(data, batch=BATCH, streams=streams, start=start, stop=stop)


def go_together(
    runs: Sequence[Run], data: Data, stop: int, *, optimizer: OptimizerSpec = SGD, training: TrainingSpec = TRAINING
) -> Together:
    together = Together.begin(runs, optimizer)
    feeds = [feed(data, seed, runs[0].position, stop) for seed in range(COUNT)]
    epoch = per_epoch(data, BATCH)
    for position in together.train(
        feeds, task=CLASSIFICATION, training=training, optimizer=optimizer, per_epoch=epoch, stop=stop
    ):
        assert {run.position for run in runs} == {position}
    return together


def go_alone(
    runs: Sequence[Run], data: Data, stop: int, *, optimizer: OptimizerSpec = SGD, training: TrainingSpec = TRAINING
) -> None:
    for seed, run in enumerate(runs):
        steps = train(
            run,
            feed(data, seed, run.position, stop),
            task=CLASSIFICATION,
            training=training,
            optimizer=optimizer,
            streams=Streams(root=0, replicate=seed),
            per_epoch=per_epoch(data, BATCH),
            stop=stop,
        )
        assert list(steps)[-1] == stop


def state(run: Run) -> dict[str, Tensor]:
    """All that a checkpoint of the run holds, by name."""
    moments = {
        f"{number}/{index}/{key}": value
        for number, optimizer in enumerate(run.optimizers)
        for index, found in optimizer.state_dict()["state"].items()
        for key, value in found.items()
        if isinstance(value, Tensor)
    }
    return {**run.model.state_dict(), **moments, "losses": run.losses}


def assert_close(one: Sequence[Run], other: Sequence[Run], **tolerance: float) -> None:
    for a, b in zip(map(state, one), map(state, other), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_as_it_would_alone(model: str, digits: Data) -> None:
    alone, together = begin(digits, MODELS[model]), begin(digits, MODELS[model])
    go_alone(alone, digits, 2)
    go_together(together, digits, 2)
    assert_close(together, alone, rtol=1e-3, atol=1e-4)
    assert len({float(run.losses[1]) for run in together}) == COUNT, "each has its own weights and batches"


@pytest.mark.parametrize("optimizer", ENTRYWISE)
def test_every_optimizer_but_muon_does_what_it_does_alone(optimizer: str, digits: Data) -> None:
    spec = OptimizerSpec.read(OPTIMIZERS[optimizer])
    alone, together = begin(digits, MODELS["lenet"], spec), begin(digits, MODELS["lenet"], spec)
    go_alone(alone, digits, 12, optimizer=spec)
    go_together(together, digits, 12, optimizer=spec)
    assert_close(together, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["lenet", "resnet-20"])
def test_bfloat16_is_what_it_is_alone(model: str, digits: Data) -> None:
    half = TRAINING.but(precision="bfloat16")
    alone, together, whole = (begin(digits, MODELS[model]) for _ in range(3))
    go_alone(alone, digits, 2, training=half)
    go_together(together, digits, 2, training=half)
    go_together(whole, digits, 2)
    for one, other, exact in zip(together, alone, whole, strict=True):
        torch.testing.assert_close(one.losses, other.losses, rtol=0.02, atol=0.02)
        assert not torch.equal(one.losses, exact.losses)


@pytest.mark.parametrize("optimizer", ENTRYWISE)
def test_each_is_saved_as_one_alone_and_goes_on_to_the_same_bits(optimizer: str, digits: Data, tmp_path: Path) -> None:
    spec = OptimizerSpec.read(OPTIMIZERS[optimizer])
    straight, stopped, resumed, apart = (begin(digits, MODELS["mlp"], spec) for _ in range(4))
    go_together(straight, digits, 12, optimizer=spec)
    go_together(stopped, digits, 5, optimizer=spec)
    for number, run in enumerate(stopped):
        slot = checkpoint.File(tmp_path / str(number))
        checkpoint.save(slot, run)
        assert checkpoint.load(slot, resumed[number]) and checkpoint.load(slot, apart[number])
    go_together(resumed, digits, 12, optimizer=spec)
    assert_close(resumed, straight, rtol=0, atol=0)
    go_alone(apart, digits, 12, optimizer=spec)
    assert_close(apart, straight, rtol=1e-3, atol=1e-4)


def test_what_is_saved_later_is_of_later(digits: Data, tmp_path: Path) -> None:
    runs = begin(digits, MODELS["conv-2"], OptimizerSpec(name="adam"))
    go_together(runs, digits, 3, optimizer=OptimizerSpec(name="adam"))
    for number, run in enumerate(runs):
        checkpoint.save(checkpoint.File(tmp_path / str(number)), run)
    read = begin(digits, MODELS["conv-2"], OptimizerSpec(name="adam"))
    assert all(checkpoint.load(checkpoint.File(tmp_path / str(n)), run) for n, run in enumerate(read))
    assert_close(read, runs, rtol=0, atol=0)
    assert all(float(value) == 3 for run in read for name, value in state(run).items() if name.endswith("/step"))


@pytest.mark.parametrize("rule", ["gate+project", "project"])
def test_one_guard_holds_the_masks_of_all(rule: str, digits: Data) -> None:
    alone, together = begin(digits, MODELS["conv-2"]), begin(digits, MODELS["conv-2"])
    names = prunable(together[0].model)
    draw = torch.Generator().manual_seed(0)
    masks = [
        Mask({name: torch.rand(run.model.get_parameter(name).shape, generator=draw) < 0.3 for name in names})
        for run in together
    ]
    with ExitStack() as held:
        for run, mask in zip(alone, masks, strict=True):
            held.enter_context(attach(run.model, run.optimizers, mask, rule=rule))
        go_alone(alone, digits, 4)
    bundle = Together.begin(together, SGD)
    whole = Mask({name: torch.stack([mask[name] for mask in masks]) for name in names})
    with attach(bundle.stack, bundle.optimizers, whole, rule=rule) as guard:
        feeds = [feed(digits, seed, 0, 4) for seed in range(COUNT)]
        epoch = per_epoch(digits, BATCH)
        for _ in bundle.train(feeds, task=CLASSIFICATION, training=TRAINING, optimizer=SGD, per_epoch=epoch, stop=4):
            guard.audit()
    assert_close(together, alone, rtol=1e-3, atol=1e-4)
    for run, mask in zip(together, masks, strict=True):
        assert all(torch.equal(run.model.get_parameter(name) != 0, mask[name]) for name in names)


def test_one_that_breaks_takes_no_other_along(digits: Data) -> None:
    together, broken = begin(digits, MODELS["resnet-20"]), begin(digits, MODELS["resnet-20"])
    with torch.no_grad():
        broken[1].model.get_parameter("conv1.weight").fill_(float("nan"))
    go_together(together, digits, 3)
    go_together(broken, digits, 3)
    assert broken[1].losses[:3].isnan().all()
    assert_close(broken[::2], together[::2], rtol=0, atol=0)


def test_unlike_networks_are_refused(digits: Data) -> None:
    runs = [*begin(digits, MODELS["mlp"])[:1], *begin(digits, ModelSpec(name="mlp", widths=(20, 11)))[:1]]
    with pytest.raises(RuntimeError, match="size"):
        Together.begin(runs, SGD)


@pytest.mark.parametrize("name", ["adam", "nadam"])
def test_a_weight_of_one_number_has_moments_of_its_own(name: str) -> None:
    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(scale))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    spec = OptimizerSpec(name=name)
    nets = [Scaled(scale) for scale in (0.5, 2.0)]
    runs = [
        Run.begin(net, build_optimizers(spec, net, head=()), precision="float32", position=0, total=4) for net in nets
    ]
    twins = [copy.deepcopy(net) for net in nets]
    feed = [(torch.randn(8, 4, generator=torch.Generator().manual_seed(n)), torch.arange(8) % 4) for n in range(4)]
    asked = {"task": CLASSIFICATION, "training": TRAINING, "optimizer": spec, "per_epoch": 2, "stop": 4}
    for _ in Together.begin(runs, spec).train([iter(feed), iter(feed)], **asked):
        pass
    for run, twin in zip(runs, twins, strict=True):
        alone = Run.begin(twin, build_optimizers(spec, twin, head=()), precision="float32", position=0, total=4)
        for _ in train(alone, iter(feed), **asked, streams=Streams(root=0, replicate=0)):
            pass
        torch.testing.assert_close(run.model.scale, twin.scale)
        moments = [one.optimizers[0].state[one.model.scale]["exp_avg"] for one in (run, alone)]
        assert moments[0].shape == () and torch.isclose(*moments)
