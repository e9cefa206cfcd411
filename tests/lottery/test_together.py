"""Tasks at once: alike trainings as one program, the others alone, each with its own checkpoint, errors and wishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from tables import MODELS
from torch import nn

from oneticket.data.data import Data
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import TrainingError
from oneticket.ground.streams import Streams
from oneticket.lottery.grouping import do_together, placed, run_trainings
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.training_request import Trained, TrainingRequest
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.ticket.mask import Mask
from oneticket.training.checkpoint import File
from oneticket.training.loop import Run
from oneticket.training.spec import TrainingSpec

MLP = ModelSpec(name="mlp", widths=(20, 10))
QUICK = TrainingSpec(budget="8it", batch=32)
SGD = OptimizerSpec(name="sgd")


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(DataSpec(name="digits:a", per_class=20))


def job(
    data: Data, replicate: int = 0, *, model: ModelSpec = MLP, remaining: float = 0.5, **changed: Any
) -> TrainingRequest:
    net = build(model, inputs=data.inputs, outputs=10, seed=replicate)
    draw = torch.Generator().manual_seed(replicate)
    mask = Mask({n: torch.rand(net.get_parameter(n).shape, generator=draw) < remaining for n in prunable(net)})
    with torch.no_grad():
        for name, kept in mask.items():
            net.get_parameter(name).mul_(kept)
    made = TrainingRequest(
        model=net, mask=mask, data=data, optimizer=SGD, training=QUICK, streams=Streams(root=0, replicate=replicate)
    )
    return replace(made, **changed)


class Seen:
    """Watchers that write down whose step was seen, and where."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def of(self, number: int) -> tuple[Callable[[Run], None]]:
        return (lambda run: self.steps.append((run.position, number)),)

    @property
    def groups(self) -> list[list[int]]:
        """Those that were trained as one program, by number: their steps alternate."""
        found = {tuple(number for _, number in some) for _, some in groupby(self.steps, key=lambda step: step[0])}
        return sorted(map(list, found))


def both(jobs: Sequence[Callable[[], TrainingRequest]]) -> tuple[list[Any], list[Any], Seen]:
    """What the jobs leave when done at once, and when done one by one; and who was seen at once."""
    seen = Seen()
    made = [make() for make in jobs]
    at_once = run_trainings([(each, RunContext(watchers=seen.of(number))) for number, each in enumerate(made)])
    apart = [run_trainings([(make(), RunContext())])[0] for make in jobs]
    return at_once, apart, seen


def assert_close(one: Trained, other: Trained) -> None:
    torch.testing.assert_close(one.losses, other.losses, rtol=1e-4, atol=1e-4)
    assert one.record.keys() == other.record.keys()
    for name, value in one.record.items():
        near = pytest.approx(other.record[name], rel=1e-3, abs=0.02) if isinstance(value, float) else other.record[name]
        assert value == near, name


@pytest.mark.convolutions
@pytest.mark.parametrize("name", ["mlp", "conv-2", "resnet-20"])
def test_alike_trainings_are_one_program_and_leave_what_they_leave_alone(name: str, digits: Data) -> None:
    # Few steps: where a rounding turns a ReLU of a narrow network, a step later losses differ by a thousandth.
    # Above `DENSEST` no layer is measured, so that this machine's speed does not decide which sums are rounded how.
    few = {"model": MODELS[name], "remaining": 0.95, "training": QUICK.but(budget="4it")}
    jobs = [partial(job, digits, replicate, **few) for replicate in range(3)]
    at_once, apart, seen = both(jobs)
    assert seen.groups == [[0, 1, 2]]
    assert [position for position, _ in seen.steps] == [step for step in range(1, 5) for _ in range(3)]
    for one, other in zip(at_once, apart, strict=True):
        assert_close(one, other)
    assert len({float(one.losses[-1]) for one in at_once}) == 3


def test_the_networks_are_trained_in_place_and_masked(digits: Data) -> None:
    jobs = [job(digits, replicate, remaining=0.3) for replicate in range(2)]
    before = [each.model.get_parameter("fc1.weight").detach().clone() for each in jobs]
    run_trainings([(each, RunContext()) for each in jobs])
    for each, weights in zip(jobs, before, strict=True):
        after, remaining = each.model.get_parameter("fc1.weight").detach(), each.mask["fc1.weight"]
        assert torch.equal(after != 0, remaining) and not torch.equal(after, weights)
        assert after.untyped_storage().nbytes() == after.nbytes, "no window on a stack is left"


def test_arms_and_replicates_and_masks_may_differ(digits: Data) -> None:
    jobs = [
        partial(job, digits),
        partial(job, digits, 1, mask=Mask({})),
        partial(job, load(DataSpec(name="digits:b", per_class=20)), 2),
        partial(job, digits, 0, remaining=0.1),
    ]
    at_once, apart, seen = both(jobs)
    assert seen.groups == [[0, 1, 2, 3]]
    for one, other in zip(at_once, apart, strict=True):
        assert_close(one, other)


UNLIKE: dict[str, Callable[[Data], TrainingRequest]] = {
    "optimizer": lambda data: job(data, optimizer=OptimizerSpec(name="sgd", lr=0.1)),
    "training": lambda data: job(data, training=QUICK.but(smoothing=0.1)),
    "start": lambda data: job(data, start=2),
    "stop": lambda data: job(data, stop=5),
    "width": lambda data: job(data, model=ModelSpec(name="mlp", widths=(20, 11))),
    "depth": lambda data: job(data, model=ModelSpec(name="mlp", widths=(20,))),
    "epoch": lambda data: job(load(DataSpec(name="digits:a", per_class=30))),
    "function": lambda data: job(data, model=ModelSpec(name=f"{__name__}:leaky", head="3")),
    "frozen": lambda data: _frozen(job(data)),
}


def leaky(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Has the parameters that `mlp` of one hidden layer has, but is another function."""
    size = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 20), nn.LeakyReLU(0.2), nn.Linear(20, classes))


def leakier(shape: tuple[int, int, int], classes: int) -> nn.Module:
    net = leaky(shape, classes)
    net[2] = nn.LeakyReLU(0.3)
    return net


def _frozen(made: TrainingRequest) -> TrainingRequest:
    made.model.get_parameter("fc1.bias").requires_grad_(False)
    return made


@pytest.mark.parametrize("what", UNLIKE)
def test_unlike_trainings_are_done_one_by_one(what: str, digits: Data) -> None:
    at_once, apart, seen = both([partial(job, digits), partial(UNLIKE[what], digits), partial(job, digits, 1)])
    assert seen.groups == [[0, 2], [1]]
    for one, other in zip(at_once, apart, strict=True):
        assert_close(one, other)


def test_what_a_module_computes_with_is_part_of_what_it_is(digits: Data) -> None:
    models = [ModelSpec(name=f"{__name__}:{name}", head="3") for name in ("leaky", "leakier", "leaky")]
    _, _, seen = both([partial(job, digits, number, model=model) for number, model in enumerate(models)])
    assert seen.groups == [[0, 2], [1]]


class Drawing(nn.Module):
    """A module that is neither torch's nor ours may draw random numbers."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.layers = leaky(shape, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


ALONE: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": OptimizerSpec(name="muon")},
    "own module": {"model": ModelSpec(name=f"{__name__}:Drawing", head="layers.3")},
}


@pytest.mark.parametrize("why", ALONE)
def test_some_are_always_alone(why: str, digits: Data) -> None:
    at_once, apart, seen = both([partial(job, digits, replicate, **ALONE[why]) for replicate in range(2)])
    assert seen.groups == [[0], [1]]
    for one, other in zip(at_once, apart, strict=True):
        assert torch.equal(one.losses, other.losses) and one.record == other.record


def stubborn(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Torch's own layers, the third of which cannot be stacked, after the second has counted a batch."""
    first = (nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4), nn.CrossMapLRN2d(3))
    return nn.Sequential(*first, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes))


def test_what_cannot_be_stacked_is_trained_one_by_one_from_where_it_was(digits: Data) -> None:
    spec = ModelSpec(name=f"{__name__}:stubborn", head="5")
    at_once, apart, seen = both([partial(job, digits, replicate, model=spec) for replicate in range(2)])
    assert seen.groups == [[0], [1]]
    for one, other in zip(at_once, apart, strict=True):
        assert torch.equal(one.losses, other.losses) and one.record == other.record


def task(made: TrainingRequest):
    """A task that returns what its training left."""
    trained = yield made
    return trained


def test_an_error_is_raised_in_its_own_task_alone(digits: Data) -> None:
    jobs = [job(digits, replicate) for replicate in range(3)]
    with torch.no_grad():
        jobs[1].model.get_parameter("fc1.weight").mul_(1e30)
    one, two, three = do_together([placed(task(each), RunContext()) for each in jobs])
    assert isinstance(two, TrainingError) and "the loss is" in str(two) and "at step" in str(two)
    for done, replicate in ((one, 0), (three, 2)):
        assert_close(done, run_trainings([(job(digits, replicate), RunContext())])[0])


def test_what_a_watcher_raises_ends_its_own_run_alone(digits: Data) -> None:
    def refuse(run: Run) -> None:
        if run.position == 3:
            raise ValueError("no more")

    seen = Seen()
    places = [
        RunContext(watchers=seen.of(0)),
        RunContext(watchers=(*seen.of(1), refuse)),
        RunContext(watchers=seen.of(2)),
    ]
    asked = [(job(digits, number), context) for number, context in enumerate(places)]
    one, two, three = run_trainings(asked)
    assert isinstance(one, Trained) and isinstance(three, Trained)
    assert isinstance(two, ValueError)
    assert [max(p for p, number in seen.steps if number == n) for n in range(3)] == [8, 3, 8]


def test_an_interrupt_that_no_place_asked_for_is_raised_at_once(digits: Data) -> None:
    def interrupt(run: Run) -> None:
        raise KeyboardInterrupt

    seen = Seen()
    jobs = [
        job(digits, number, optimizer=optimizer)
        for number, optimizer in enumerate((SGD, SGD, OptimizerSpec(name="adam")))
    ]
    for some in (jobs, jobs[1:]):
        places = [RunContext(watchers=(*seen.of(number), interrupt)) for number in range(len(some))]
        with pytest.raises(KeyboardInterrupt):
            do_together([placed(task(each), context) for each, context in zip(some, places, strict=True)])
    assert len(seen.steps) == 2


@pytest.mark.parametrize("alone", [False, True])
def test_stopped_together_all_go_on_from_there_together_or_alone(alone: bool, digits: Data, tmp_path: Path) -> None:
    straight = run_trainings([(job(digits, number), RunContext()) for number in range(3)])
    seen = Seen()
    asked = [
        (
            job(digits, number),
            RunContext(
                checkpoint=File(tmp_path / str(number)), watchers=seen.of(number), stop=lambda: bool(seen.steps[8:])
            ),
        )
        for number in range(3)
    ]
    stopped = run_trainings(asked)
    assert all(isinstance(each, KeyboardInterrupt) for each in stopped)
    assert seen.steps[-1][0] == 3
    again = Seen()
    fresh = [
        (job(digits, number), RunContext(checkpoint=File(tmp_path / str(number)), watchers=again.of(number)))
        for number in range(3)
    ]
    resumed = [run_trainings([each])[0] for each in fresh] if alone else run_trainings(fresh)
    assert again.groups == ([[0], [1], [2]] if alone else [[0, 1, 2]])
    assert min(position for position, _ in again.steps) == 5
    for one, other in zip(resumed, straight, strict=True):
        if alone:
            assert_close(one, other)
        else:
            assert torch.equal(one.losses, other.losses) and one.record == other.record
    assert all(context.spent > 0 for _, context in fresh)


def test_one_that_is_asked_to_stop_leaves_the_others(digits: Data, tmp_path: Path) -> None:
    seen = Seen()
    slots = [File(tmp_path / str(number)) for number in range(2)]
    stops = (lambda: False, lambda: len(seen.steps) > 4)
    asked = [(job(digits, n), RunContext(checkpoint=slots[n], watchers=seen.of(n), stop=stops[n])) for n in range(2)]
    one, two = run_trainings(asked)
    assert isinstance(two, KeyboardInterrupt)
    assert_close(one, run_trainings([(job(digits, 0), RunContext())])[0])
    assert slots[1].read() is not None


@pytest.mark.parametrize("compact", [False, True])
def test_only_whole_networks_at_one_position_go_on_together(compact: bool, digits: Data, tmp_path: Path) -> None:
    made = partial(job, remaining=0.05 if compact else 0.5)
    slots = [File(tmp_path / str(number)) for number in range(3)]
    seen = Seen()
    ahead = RunContext(compact=compact, checkpoint=slots[1], watchers=seen.of(1), stop=lambda: len(seen.steps) > 2)
    assert isinstance(run_trainings([(made(digits, 1), ahead)])[0], KeyboardInterrupt)
    again = Seen()
    asked = [(made(digits, n), RunContext(checkpoint=slots[n], watchers=again.of(n))) for n in range(3)]
    done = run_trainings(asked)
    assert again.groups == [[0, 2], [1]]
    assert min(position for position, number in again.steps if number == 1) > 1
    for number, one in enumerate(done):
        assert_close(one, run_trainings([(made(digits, number), RunContext())])[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_together_on_cuda(name: str, precision: str) -> None:
    here = torch.device("cuda")
    data = load(DataSpec(name="digits:a", per_class=20, crop=1, flip=True), device=here)
    training = TrainingSpec(budget="4it", batch=32, clip=1.0, precision=precision)
    seen = Seen()

    def made(number: int) -> TrainingRequest:
        return job(data, number, model=MODELS[name], remaining=0.9, training=training)

    at_once = run_trainings([(made(n), RunContext(device=here, watchers=seen.of(n))) for n in range(3)])
    apart = [run_trainings([(made(n), RunContext(device=here, compact=False))])[0] for n in range(3)]
    assert seen.groups == [[0, 1, 2]]
    for one, other in zip(at_once, apart, strict=True):
        torch.testing.assert_close(one.losses, other.losses, rtol=0.02, atol=0.02)
        assert one.record["living"] == other.record["living"]
