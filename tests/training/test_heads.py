"""A network with a head for each of several sets: a set's examples teach and judge its own head alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from oneticket.ground.errors import SpecError
from oneticket.task.heads import Head, with_heads
from oneticket.task.spec import TaskSpec
from oneticket.task.task import CLASSIFICATION, task_of
from oneticket.training.measure import measure

HEADS = (Head(name="small", outputs=3, tests=4), Head(name="large", outputs=5, tests=12))
TASK = with_heads(CLASSIFICATION, HEADS)
DRAW = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(16, 8, generator=DRAW) * 3
TARGET = torch.tensor([0, 1, 2, 1, 3, 4, 5, 6, 7, 3, 4, 5, 6, 7, 3, 3])


def test_one_set_has_the_very_task() -> None:
    assert with_heads(CLASSIFICATION, ()) is CLASSIFICATION


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_an_example_is_that_of_its_own_head_alone(smoothing: float) -> None:
    found = TASK.training_loss(OUTPUT, TARGET, "none", smoothing)
    alike = {"label_smoothing": smoothing, "reduction": "none"}
    first = cross_entropy(OUTPUT[:4, :3], TARGET[:4], **alike)
    second = cross_entropy(OUTPUT[4:, 3:], TARGET[4:] - 3, **alike)
    assert torch.allclose(found, torch.cat([first, second]), atol=1e-6)
    assert TASK.training_loss(OUTPUT, TARGET, "mean", smoothing).equal(found.mean())
    assert TASK.training_loss(OUTPUT, TARGET, "sum", smoothing).equal(found.sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("own", [slice(0, 3), slice(3, 8)])
def test_the_gradient_of_the_other_head_is_exactly_zero(own: slice, smoothing: float) -> None:
    with torch.random.fork_rng():
        layer = nn.Linear(6, 8)
    inputs, target = torch.randn(16, 6, generator=DRAW), torch.arange(16) % (own.stop - own.start) + own.start
    TASK.training_loss(layer(inputs), target, "mean", smoothing).backward()
    other = torch.ones(8, dtype=torch.bool)
    other[own] = False
    for gradient in (layer.weight.grad, layer.bias.grad):
        assert not gradient[other].any() and gradient[~other].all() and gradient.isfinite().all()


def test_an_answer_of_another_head_counts_for_nothing_and_every_set_counts_alike() -> None:
    output = OUTPUT.clone()
    output[:4, 3:] = 99.0
    found = measure(nn.Identity(), [(output[:5], TARGET[:5]), (output[5:], TARGET[5:])], TASK)
    small = (output[:4, :3].argmax(1) == TARGET[:4]).double().mean()
    large = (output[4:, 3:].argmax(1) == TARGET[4:] - 3).double().mean()
    assert [*found.scores] == ["accuracy", "accuracy on small", "accuracy on large"]
    assert found.scores["accuracy on small"] == pytest.approx(float(small))
    assert found.scores["accuracy on large"] == pytest.approx(float(large))
    assert found.score == pytest.approx(float(small + large) / 2, abs=1e-6)


def test_other_tasks_are_refused() -> None:
    with pytest.raises(SpecError, match="for classification alone"):
        with_heads(task_of(TaskSpec(name="regression")), HEADS)
