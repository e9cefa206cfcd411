"""The laws of training: resuming equals going straight on, watchers change nothing, a bad loss stops the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tables import MODELS, OPTIMIZERS
from torch import nn

from oneticket.data.batches import batches, per_epoch, test_batches
from oneticket.data.data import Data
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import KeptWarning, StoreError, TrainingError
from oneticket.ground.streams import Streams
from oneticket.models.build import build
from oneticket.models.parts import head
from oneticket.models.spec import ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket import sealed
from oneticket.training import checkpoint
from oneticket.training.loop import Run, train
from oneticket.training.measure import measure
from oneticket.training.spec import TrainingSpec
from oneticket.training.watch import Keeper, finite, watched

STREAMS = Streams(root=0, replicate=0)
TRAINING = TrainingSpec(budget="20it", batch=32, smoothing=0.1, clip=1.0)


@pytest.fixture(scope="module")
def digits() -> Data:
    return load(DataSpec(name="digits", per_class=40, crop=1))


def begin(data: Data, model: ModelSpec, optimizer: OptimizerSpec, training: TrainingSpec = TRAINING) -> Run:
    net = build(model, inputs=data.inputs, outputs=10, seed=0).to(memory_format=torch.channels_last)
    made = build_optimizers(optimizer, net, head=head(net))
    return Run.begin(net, made, precision=training.precision, position=0, total=training.budget.steps(12))


def go(
    run: Run, data: Data, optimizer: OptimizerSpec, stop: int = 20, training: TrainingSpec = TRAINING
) -> Iterator[int]:
    feed = batches(data, batch=training.batch, streams=STREAMS, start=run.position, stop=stop)
    return train(
        run,
        feed,
        task=CLASSIFICATION,
        training=training,
        optimizer=optimizer,
        streams=STREAMS,
        per_epoch=per_epoch(data, 32),
        stop=stop,
    )


def same(a: Run, b: Run) -> bool:
    one, other = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one) and torch.equal(a.losses, b.losses)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("at", [1, 13])
def test_resume_equals_the_straight_run(optimizer: str, at: int, digits: Data, tmp_path: Path) -> None:
    spec = OptimizerSpec.read(OPTIMIZERS[optimizer])
    straight = begin(digits, MODELS["lenet"], spec)
    for position in go(straight, digits, spec):
        if position == at:
            checkpoint.save(checkpoint.File(tmp_path / "run"), straight)
    resumed = begin(digits, MODELS["lenet"], spec)
    assert checkpoint.load(checkpoint.File(tmp_path / "run"), resumed)
    assert resumed.position == at
    for _ in go(resumed, digits, spec):
        pass
    assert same(straight, resumed)


@pytest.mark.convolutions
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resume_holds_for_every_model(model: str, precision: str, digits: Data, tmp_path: Path) -> None:
    spec, training = OptimizerSpec(name="sgd"), TRAINING.but(precision=precision)
    straight = begin(digits, MODELS[model], spec, training)
    for position in go(straight, digits, spec, 4, training):
        if position == 2:
            checkpoint.save(checkpoint.File(tmp_path / "run"), straight)
    resumed = begin(digits, MODELS[model], spec, training)
    assert checkpoint.load(checkpoint.File(tmp_path / "run"), resumed)
    for _ in go(resumed, digits, spec, 4, training):
        pass
    assert same(straight, resumed)


def test_precision_matters(digits: Data) -> None:
    spec = OptimizerSpec(name="sgd")
    runs = []
    for precision in ("float32", "bfloat16"):
        training = TRAINING.but(precision=precision)
        runs.append(begin(digits, MODELS["lenet"], spec, training))
        for _ in go(runs[-1], digits, spec, 3, training):
            pass
    assert not same(*runs)
    assert torch.allclose(runs[0].losses, runs[1].losses, rtol=0.02, atol=0.02)
    with pytest.raises(TrainingError, match="float16 needs a CUDA device"):
        begin(digits, MODELS["lenet"], spec, TRAINING.but(precision="float16"))


@pytest.mark.convolutions
def test_watchers_change_nothing(digits: Data, tmp_path: Path) -> None:
    spec = OptimizerSpec(name="sgd")
    alone, seen = begin(digits, MODELS["resnet-20"], spec), begin(digits, MODELS["resnet-20"], spec)
    for _ in go(alone, digits, spec, 6):
        pass
    looked: list[float] = []

    def look(run: Run) -> None:
        looked.append(measure(run.model, test_batches(digits), CLASSIFICATION).score)
        torch.rand(7)

    state = torch.get_rng_state()
    with Keeper(checkpoint.File(tmp_path / "run"), seconds=0, stop=lambda: False) as keep:
        for _ in watched(go(seen, digits, spec, 6), seen, [finite(6, every=1), keep, look]):
            pass
    torch.set_rng_state(state)
    assert len(looked) == 6
    assert same(alone, seen)


class Noisy(nn.Module):
    """A network whose forward pass draws random numbers."""

    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.hidden = nn.Linear(shape[0] * shape[1] * shape[2], 20)
        self.head = nn.Linear(20, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.dropout(self.hidden(images.flatten(1)), training=self.training))


def test_a_forward_pass_that_draws_resumes_too(digits: Data, tmp_path: Path) -> None:
    spec, noisy = OptimizerSpec(name="sgd"), ModelSpec(name=f"{__name__}:Noisy")
    straight = begin(digits, noisy, spec)
    for position in go(straight, digits, spec, 6):
        if position == 3:
            checkpoint.save(checkpoint.File(tmp_path / "run"), straight)
    resumed = begin(digits, noisy, spec)
    assert checkpoint.load(checkpoint.File(tmp_path / "run"), resumed)
    torch_state = torch.get_rng_state()
    torch.manual_seed(99)
    for _ in go(resumed, digits, spec, 6):
        pass
    torch.set_rng_state(torch_state)
    assert same(straight, resumed)


@pytest.mark.parametrize("every", [1, 7, 50])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(every: int, digits: Data) -> None:
    spec = OptimizerSpec(name="sgd", lr=1e30, momentum=0, weight_decay=0)
    run = begin(digits, MODELS["mlp"], spec, TRAINING.but(clip=None))
    steps = go(run, digits, spec, 20, TRAINING.but(clip=None))
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step [12] \(lr 1e\+30\); try a lower --lr"):
        for _ in watched(steps, run, [finite(20, every=every)]):
            pass


def test_a_checkpoint_that_does_not_fit_is_left_alone(digits: Data, tmp_path: Path) -> None:
    spec = OptimizerSpec(name="sgd")
    run, slot = begin(digits, MODELS["mlp"], spec), checkpoint.File(tmp_path / "run")
    assert not checkpoint.load(slot, run)
    for content in (b"", b"not a checkpoint", b"\x08\0\0\0\0\0\0\0{}      "):
        slot.write(content)
        with pytest.warns(KeptWarning, match=f"{slot.path}: .*; it is set aside, and the training begun anew"):
            assert not checkpoint.load(slot, run)
        assert slot.read() is None
    checkpoint.save(slot, begin(digits, MODELS["lenet"], spec))
    assert not checkpoint.load(slot, run)
    assert run.position == 0
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot write the checkpoint"):
        checkpoint.save(checkpoint.File(tmp_path / "file" / "run"), run)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"position": None}, "position: expected a step from 0 to 20, got None"),
        ({"position": "2"}, "position: expected a step from 0 to 20, got '2'"),
        ({"position": -1}, "position: .* got -1"),
        ({"position": True}, "position: .* got True"),
        ({"position": 31}, "position: .* got 31"),
        ({"position": 2}, "losses: expected one for each of 2 steps"),
        ({"spent": None}, "spent: expected seconds, got None"),
        ({"spent": -1.0}, "spent: expected seconds, got -1.0"),
        ({"scaler": []}, r"scaler: expected its state, got \[\]"),
        ({"optimizer/0": None}, "optimizer/0: expected its state, got None"),
        ({"optimizer/0": {"9999/step": 1}}, "optimizer/0/9999/step: it belongs to none of the 6 parameters"),
        ({"optimizer/0": {"momentum": 1}}, "optimizer/0/momentum: it belongs to none of the 6 parameters"),
    ],
)
def test_a_checkpoint_that_says_what_cannot_be_is_told_and_set_aside(
    changes: dict[str, object], words: str, digits: Data, tmp_path: Path
) -> None:
    spec, slot = OptimizerSpec(name="sgd"), checkpoint.File(tmp_path / "run", of="step")
    run = begin(digits, MODELS["mlp"], spec)
    snapshot = checkpoint.snapshot(run)
    plain = {name: value for name, value in {**snapshot.plain, **changes}.items() if value is not None}
    slot.write(sealed.encode(sealed.CHECKPOINT, "step", plain, snapshot.tensors))
    with pytest.warns(KeptWarning, match=words):
        assert not checkpoint.load(slot, run)
    assert (slot.read(), run.position, len(list(tmp_path.iterdir()))) == (None, 0, 1)
    checkpoint.save(slot, run)
    assert checkpoint.load(slot, run)


def test_a_checkpoint_is_bound_to_its_step_and_to_every_bit(digits: Data, tmp_path: Path) -> None:
    spec, slot = OptimizerSpec(name="adam"), checkpoint.File(tmp_path / "run", of="one")
    run = begin(digits, MODELS["mlp"], spec)
    for _ in go(run, digits, spec, 2):
        pass
    checkpoint.save(slot, run)
    good = slot.read() or b""
    with pytest.warns(KeptWarning, match="it is that of one, not of other"):
        assert not checkpoint.load(checkpoint.File(slot.path, of="other"), run)
    for at in range(0, len(good), len(good) // 40):
        slot.write(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.warns(KeptWarning, match=str(slot.path)):
            assert not checkpoint.load(slot, begin(digits, MODELS["mlp"], spec))
    slot.write(good)
    assert checkpoint.load(slot, run)


def test_a_checkpoint_carries_the_time_spent(digits: Data, tmp_path: Path) -> None:
    spec, slot = OptimizerSpec(name="sgd"), checkpoint.File(tmp_path / "run")
    run = begin(digits, MODELS["mlp"], spec)
    run.spent = 1000.0
    checkpoint.save(slot, run)
    again = begin(digits, MODELS["mlp"], spec)
    assert checkpoint.load(slot, again)
    assert 1000 < again.spent < again.seconds


def test_clipping_bounds_the_gradient(digits: Data) -> None:
    spec = OptimizerSpec(name="sgd", lr=1.0, momentum=0, weight_decay=0)
    run = begin(digits, MODELS["mlp"], spec)
    training = TRAINING.but(clip=1e-3)
    before = [p.detach().clone() for p in run.model.parameters()]
    for _ in go(run, digits, spec, 1, training):
        pass
    moved = sum(((p.detach() - b) ** 2).sum() for p, b in zip(run.model.parameters(), before, strict=True)).sqrt()
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("model", ["lenet", "conv-2"])
def test_a_network_compiled_in_place_trains_resumes_and_is_measured(model: str, digits: Data, tmp_path: Path) -> None:
    spec, slot = OptimizerSpec(name="sgd"), checkpoint.File(tmp_path / "run")
    plain, compiled, resumed = (begin(digits, MODELS[model], spec) for _ in range(3))
    for run in (compiled, resumed):
        run.model.forward = torch.compile(run.model.forward, backend="aot_eager")
    for _ in go(plain, digits, spec, 4):
        pass
    for position in go(compiled, digits, spec, 4):
        if position == 2:
            checkpoint.save(slot, compiled)
    assert checkpoint.load(slot, resumed)
    for _ in go(resumed, digits, spec, 4):
        pass
    assert same(compiled, resumed)
    assert torch.allclose(plain.losses, compiled.losses, rtol=1e-5)
    found = [measure(run.model, test_batches(digits), CLASSIFICATION) for run in (plain, compiled)]
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)


def test_measure_counts_every_image_and_restores_the_mode(digits: Data) -> None:
    net = build(MODELS["resnet-20"], inputs=digits.inputs, outputs=10, seed=0).train()
    whole, parts = (measure(net, test_batches(digits, size), CLASSIFICATION) for size in (1000, 7))
    assert whole.count == parts.count == len(digits.test)
    assert whole.score == parts.score
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5)
    assert net.training
