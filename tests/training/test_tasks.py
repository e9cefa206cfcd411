"""Tasks: the loss of every row as a mean, a sum and value by value; what counts; your own; data that do not fit."""

from __future__ import annotations

import math

import pytest
import torch

from oneticket.ground.errors import SpecError, TrainingError
from oneticket.ground.metric import Metric
from oneticket.lottery.place import Place
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.study.plan import search_origin
from oneticket.task.spec import KNOWN, TaskSpec
from oneticket.task.task import TASKS, Measure, Task, task_of
from oneticket.training.measure import measure

DRAW = torch.Generator().manual_seed(0)
BATCHES = {
    "classification": (torch.randn(6, 4, generator=DRAW), torch.tensor([0, 1, 2, 3, 0, 1])),
    "regression": (torch.randn(6, 1, generator=DRAW), torch.randn(6, 1, generator=DRAW)),
    "language": (torch.randn(3, 5, 7, generator=DRAW), torch.randint(7, (3, 5), generator=DRAW)),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_loss_is_one_whichever_way_it_is_reduced(name: str) -> None:
    task, (output, target) = TASKS[name], BATCHES[name]
    each = task.loss(output, target, "none")
    assert each.shape == target.shape
    torch.testing.assert_close(task.loss(output, target, "sum"), each.sum())
    torch.testing.assert_close(task.loss(output, target, "mean"), each.mean())


@pytest.mark.parametrize("name", TASKS)
def test_a_measure_does_not_depend_on_the_batches(name: str) -> None:
    task, (output, target) = TASKS[name], BATCHES[name]
    whole = measure(torch.nn.Identity(), [(output, target)], task)
    parts = measure(torch.nn.Identity(), zip(output.split(2), target.split(2), strict=True), task)
    assert whole.count == parts.count == target.numel()
    assert whole.score == pytest.approx(parts.score) and whole.scores == pytest.approx(parts.scores)
    expected = {
        "classification": float((output.argmax(1) == target).double().mean()) if name == "classification" else 0,
        "regression": math.sqrt(float((output - target).square().mean())) if name == "regression" else 0,
        "language": float(task.loss(output, target, "mean")) / math.log(2),
    }
    assert whole.score == pytest.approx(expected[name])


def test_the_tables_agree() -> None:
    assert TASKS.keys() == KNOWN.keys()


def test_smoothing_is_for_classes() -> None:
    output, target = BATCHES["regression"]
    with pytest.raises(TrainingError, match=r"training\.smoothing: labels can be smoothed where there are classes"):
        TASKS["regression"].training_loss(output, target, "mean", 0.1)
    smoothed = TASKS["classification"].training_loss(*BATCHES["classification"], "mean", 0.1)
    assert smoothed != TASKS["classification"].training_loss(*BATCHES["classification"], "mean", 0.0)


def test_a_task_that_contradicts_itself_is_refused() -> None:
    given = {"name": "mine", "loss": TASKS["regression"].loss, "counts": "mae"}
    mae = Measure(metric=Metric(name="mae", larger=False), total=lambda output, target: (output - target).abs().sum())
    with pytest.raises(SpecError, match="unknown measure 'mae'. Known: mean"):
        Task(**given, measures={"mean": mae})
    with pytest.raises(SpecError, match="measure 'mae' has the metric 'mse'"):
        Task(**given, measures={"mae": Measure(metric=Metric(name="mse"), total=mae.total)})
    with pytest.raises(SpecError, match="unknown targets 'class'"):
        Task(**given, measures={"mae": mae}, targets="class")


OWN = """
from oneticket.ground.metric import Metric
from oneticket.task.task import CLASSIFICATION, Measure, Task
from weights import SECOND

def task():
    top = Measure(metric=Metric(name="top-2", low=0, high=1), total=lambda output, target: SECOND * (
        (output.topk(2).indices == target[:, None]).any(1)).sum())
    return Task(name="mine", loss=CLASSIFICATION.loss, measures={"top-2": top}, counts="top-2")

def other():
    return 7
"""


def test_your_own_task_runs_a_search_and_its_text_is_in_the_address(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "weights.py").write_text("SECOND = 1\n")
    (tmp_path / "apart.py").write_text("nothing = 0\n")
    asked = {"data": {"name": "digits:a", "per_class": 5}, "model": "mlp", "rewind": "1it", "seed": 1}
    asked |= {"training": {"budget": "3it"}, "task": f"{tmp_path}/mine.py:task"}
    record = search(asked, levels=1).records[1]
    assert (record["metric"], record["better"], record["unit"]) == ("top-2", "higher", "")
    assert record["score"] == record["top-2"] > 0 and "accuracy" not in record

    def address() -> str:
        return search_origin(SearchSpec(**asked), levels=0, replicate=0, place=Place()).levels[0].key

    first = address()
    (tmp_path / "apart.py").write_text("nothing = 1\n")
    assert address() == first
    (tmp_path / "weights.py").write_text("SECOND = 1.0\n")
    assert address() != first, "a module beside the file that it imports is part of the address"
    with pytest.raises(SpecError, match=r"expected a oneticket\.Task, got int"):
        task_of(TaskSpec(name=f"{tmp_path}/mine.py:other"))


def test_a_task_and_data_that_do_not_fit_are_refused_in_words() -> None:
    with pytest.raises(SpecError, match="task regression: expected data whose targets are numbers, got classes"):
        search({"data": "digits:a", "model": "mlp", "task": "regression"}, levels=0)


def test_classification_leaves_every_address_as_it_was() -> None:
    spec = SearchSpec(data="digits:a", model="mlp")
    assert "task" not in spec.identity() and "task" not in TransferSpec(data="digits:a").identity()
    assert spec.but(task="regression").identity()["task"] == {"name": "regression"}
    assert SearchSpec.recall(spec.identity()) == spec
