"""Tasks: the loss of every row as a mean, a sum and value by value; what counts; your own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import oneticket_cli
from torch import Tensor, nn

from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError, TrainingError
from oneticket.ground.metric import METRICS, Metric
from oneticket.ground.spec import Spec
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.report.export import read_rows
from oneticket.store.store import Store
from oneticket.study.grid import plan
from oneticket.study.origins import search_origin
from oneticket.study.plan import searches
from oneticket.study.rows import rows
from oneticket.study.spec import StudySpec
from oneticket.study.steps import TransferStep
from oneticket.study.tracked_run import RESULTS
from oneticket.task.spec import TARGETS, USUAL, TaskSpec
from oneticket.task.task import CLASSIFICATION, TAKEN, TASKS, Measure, Task, task_of
from oneticket.training.measure import measure
from oneticket.training.spec import TrainingSpec

DRAW = torch.Generator().manual_seed(0)
OUTPUT, TARGET = torch.randn(6, 4, generator=DRAW), torch.tensor([0, 1, 2, 3, 0, 1])


def _absolute(output: Tensor, target: Tensor, reduction: str) -> Tensor:
    return nn.functional.l1_loss(output.sum(1), target.float(), reduction=reduction)


SPREAD = Task(
    name="spread",
    loss=_absolute,
    measures={
        "rmse": Measure(
            metric=METRICS["rmse"],
            total=lambda output, target: (output.sum(1) - target).square().sum(),
            score=math.sqrt,
        ),
        "mae": Measure(metric=Metric(name="mae", larger=False), total=lambda a, b: _absolute(a, b, "sum")),
    },
    counts="rmse",
)
NUMBERS = torch.randn(6, 4, generator=DRAW)
NEXT, FOLLOWS = torch.randn(6, 5, 4, generator=DRAW), torch.randint(4, (6, 5), generator=DRAW)
RIGHT = NEXT.softmax(2).gather(2, FOLLOWS[:, :, None])
# Task, outputs, targets, and the score that counts, written another way.
ROWS: dict[str, tuple[Task, Tensor, Tensor, Tensor]] = {
    "classification": (TASKS["classification"], OUTPUT, TARGET, (OUTPUT.argmax(1) == TARGET).double().mean()),
    "regression": (TASKS["regression"], OUTPUT, NUMBERS, ((OUTPUT - NUMBERS) ** 2).mean().sqrt()),
    "language": (TASKS["language"], NEXT, FOLLOWS, -RIGHT.log2().mean()),
    "your own": (SPREAD, OUTPUT, TARGET, (OUTPUT.sum(1) - TARGET).square().mean().sqrt()),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_loss_is_one_whichever_way_it_is_reduced(name: str) -> None:
    task, output, target, _ = ROWS[name]
    each = task.loss(output, target, "none")
    assert each.shape == target.shape
    torch.testing.assert_close(task.loss(output, target, "sum"), each.sum())
    torch.testing.assert_close(task.loss(output, target, "mean"), each.mean())


@pytest.mark.parametrize("name", ROWS)
def test_a_measure_does_not_depend_on_the_batches(name: str) -> None:
    task, output, target, expected = ROWS[name]
    whole = measure(nn.Identity(), [(output, target)], task)
    parts = measure(nn.Identity(), zip(output.split(2), target.split(2), strict=True), task)
    assert whole.count == parts.count == target.numel()
    assert whole.scores == pytest.approx(parts.scores) and whole.scores[task.counts] == whole.score
    assert whole.score == pytest.approx(float(expected), rel=1e-5)


def test_a_perfect_network_has_no_bits_and_a_blind_one_two_of_four_tokens() -> None:
    blind = measure(nn.Identity(), [(torch.zeros(6, 5, 4), FOLLOWS)], TASKS["language"])
    sure = measure(nn.Identity(), [(100.0 * nn.functional.one_hot(FOLLOWS, 4), FOLLOWS)], TASKS["language"])
    assert blind.score == pytest.approx(2.0) and sure.score == pytest.approx(0.0)


def test_the_tables_agree() -> None:
    assert {*ROWS} == {*TASKS, "your own"}
    assert {name: task.targets for name, task in TASKS.items()} == dict(TARGETS)
    assert {*USUAL} <= {*TASKS} and all(Metric.of(task.metric.plain()) == task.metric for task in TASKS.values())


LANGUAGE = {"data": "./bible.txt", "task": "language", "model": "byte-gpt"}


def test_what_nobody_gives_is_usual_for_the_task() -> None:
    plain = SearchSpec(**LANGUAGE).plain()
    usual = USUAL["language"]
    assert plain["rewind"] == usual["rewind"] and usual["training"].items() <= plain["training"].items()
    assert usual["optimizer"].items() <= plain["optimizer"].items()
    assert SearchSpec.read(plain) == SearchSpec.recall(SearchSpec(**LANGUAGE).identity()) == SearchSpec(**LANGUAGE)
    carried = TransferSpec(data="./bible.txt", task={"name": "language"}).plain()
    assert all(carried[name] == plain[name] for name in ("optimizer", "training"))
    images = SearchSpec(data="digits", model="mlp")
    assert (images.optimizer, images.training) == (OptimizerSpec(name="sgd"), TrainingSpec())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"training": {"batch": 3}}, {"batch": 3, "budget": "1000it"}),
        ({"training": TrainingSpec(clip=1.0)}, {"clip": 1.0, "budget": "1000it", "batch": 16}),
        ({"training": TrainingSpec().plain()}, {"budget": "15ep", "batch": 64}),
        ({"optimizer": {"lr": 1e-4}}, {"name": "adamw", "lr": 1e-4, "schedule": "cosine"}),
        ({"optimizer": {"name": "adamw"}}, {"lr": 1e-3, "schedule": "constant"}),
        ({"optimizer": "sgd"}, {"name": "sgd", "lr": 0.02, "schedule": "constant"}),
        ({"task": "classification", "model": "mlp", "optimizer": {"lr": 1e-4}}, {"name": "sgd", "lr": 1e-4}),
    ],
)
def test_what_somebody_gives_stays(given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = SearchSpec(**{**LANGUAGE, **given}).plain()["training" if "training" in given else "optimizer"]
    assert expected.items() <= found.items()


def test_a_study_of_a_language_needs_no_optimizer(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("In the beginning was the word. " * 400)
    parts = {"books": {"sources": [f"{tmp_path}/book.txt"], "models": ["byte-gpt"]}}
    study = {"name": "books", "task": "language", "levels": [1], "replicates": 1, "arms": ["dense"]}
    (cell,) = plan(StudySpec(**study, parts=parts), RunContext()).cells
    asked = TransferStep.read(cell.step).spec
    usual = TransferSpec(data=asked.data, task="language")
    assert (asked.optimizer, asked.training) == (usual.optimizer, usual.training)
    with pytest.raises(SpecError, match=r"parts\.books\.optimizers: none is defined"):
        plan(StudySpec(**{**study, "task": "classification"}, parts=parts), RunContext())


def test_regression_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    find = "find --data diabetes --task regression --model mlp --levels 1 --replicates 2 --out d"
    code, out, err = oneticket_cli(find, capsys)
    assert code == 0, err
    assert "Rmse, lower is better" in out
    found = [row["score"] for row in read_rows(tmp_path / "d" / "rows.csv")]
    assert len(found) == 4 and all(50 < score < 60 for score in found), "in the unit of the target, 25 to 346"
    code, out, err = oneticket_cli("show d", capsys)
    assert code == 0 and "vectors [10], 1 outputs" in out and "lower is better" in out


@pytest.mark.parametrize(("task", "model"), [("language", "text-cnn"), ("classification", "byte-gpt")])
def test_a_model_that_answers_otherwise_than_the_task_asks_is_refused(task: str, model: str) -> None:
    with pytest.raises(SpecError, match=f"{model} answers .*, the task {task} asks"):
        SearchSpec(data="./bible.txt", task=task, model=model)


def test_smoothing_is_for_classes() -> None:
    with pytest.raises(TrainingError, match=r"training\.smoothing: labels can be smoothed where there are classes"):
        SPREAD.training_loss(OUTPUT, TARGET, "mean", 0.1)
    smoothed, plain = (CLASSIFICATION.training_loss(OUTPUT, TARGET, "mean", smoothing) for smoothing in (0.1, 0.0))
    assert smoothed != plain


@pytest.mark.parametrize("made", [partial(SearchSpec, model="mlp"), TransferSpec])
def test_smoothed_numbers_are_refused_before_anything_is_trained(made: Callable[..., Spec]) -> None:
    with pytest.raises(SpecError, match=r"training\.smoothing 0\.1: .* not in regression; leave it out"):
        made(data="diabetes", task="regression", training={"smoothing": 0.1})
    for task, model in (("classification", "mlp"), ("language", "byte-gpt")):
        spec = SearchSpec(data="./set", task=task, model=model, training={"smoothing": 0.1})
        assert spec.training.smoothing == 0.1


def test_a_task_that_contradicts_itself_is_refused() -> None:
    given = {"name": "mine", "loss": _absolute, "counts": "mae"}
    mae = Measure(metric=Metric(name="mae", larger=False), total=lambda output, target: (output - target).abs().sum())
    with pytest.raises(SpecError, match="unknown measure 'mae'. Known: mean"):
        Task(**given, measures={"mean": mae})
    with pytest.raises(SpecError, match="measure 'mae' has the metric 'mse'"):
        Task(**given, measures={"mae": Measure(metric=Metric(name="mse"), total=mae.total)})


OWN = """
from oneticket.ground.metric import METRICS, Metric
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
        return search_origin(SearchSpec(**asked), levels=0, replicate=0, context=RunContext()).levels[0].key

    first = address()
    (tmp_path / "apart.py").write_text("nothing = 1\n")
    assert address() == first
    (tmp_path / "weights.py").write_text("SECOND = 1.0\n")
    with pytest.raises(SpecError, match="weights.py changed since it was imported; restart Python"):
        address()
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]  # as in a new process
    assert address() != first, "a module beside the file that it imports is part of the address"
    with pytest.raises(SpecError, match=r"expected a oneticket\.Task, got int"):
        task_of(TaskSpec(name=f"{tmp_path}/mine.py:other"))


def test_a_ticket_takes_its_task_along_and_runs_its_code_only_if_told(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "weights.py").write_text("SECOND = 1\n")
    quick = "--per-class 5 --budget 3it --quiet"
    code, _, err = oneticket_cli(
        f"find --data digits:a --model mlp --task mine.py:task --rewind 1it --levels 1 --out books {quick}", capsys
    )
    assert code == 0, err
    carry = f"transfer books --data digits:b --controls none {quick} --rows rows.csv"
    code, _, err = oneticket_cli(carry, capsys)
    assert code == 2 and "the source names code: task mine.py:task" in err
    for more in ("--run-code", "--task mine.py:task"):
        code, _, err = oneticket_cli(f"{carry} {more}", capsys)
        assert code == 0, err
        assert {row["metric"] for row in read_rows(tmp_path / "rows.csv")} == {"top-2"}
    assert oneticket_cli(f"{carry} --task classification", capsys)[0] == 0
    assert {row["metric"] for row in read_rows(tmp_path / "rows.csv")} == {"accuracy"}


def test_a_study_names_its_task(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "weights.py").write_text("SECOND = 1\n")
    name = f"{tmp_path}/mine.py:task"
    parts = {"halves": {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}}
    cells = plan(StudySpec(name="mine", levels=[1], replicates=1, task=name, parts=parts), RunContext()).cells
    assert {cell.step.args["transfer"]["task"]["name"] for cell in cells} == {name}
    assert {origin.search["task"]["name"] for origin in searches(cells)} == {name}
    assert all("task_digest" in cell.step.args for cell in cells)


def test_classification_leaves_every_address_as_it_was() -> None:
    spec = SearchSpec(data="digits:a", model="mlp")
    assert "task" not in spec.identity() and "task" not in TransferSpec(data="digits:a").identity()
    assert spec.but(task="mine.py:task").identity()["task"] == {"name": "mine.py:task"}
    assert SearchSpec.recall(spec.identity()) == spec


@pytest.mark.parametrize("total", [lambda a, b: 1.0, lambda a, b: torch.ones(2)])
def test_a_measure_that_is_no_number_is_told_by_its_name(total) -> None:
    odd = replace(SPREAD, counts="mae", measures={"mae": replace(SPREAD.measures["mae"], total=total)})
    with pytest.raises(TrainingError, match="task spread: total of mae: expected a tensor of one number, got"):
        measure(nn.Identity(), [(OUTPUT, TARGET)], odd)


@pytest.mark.parametrize("name", ["density", "loss", "seconds"])
def test_a_measure_takes_no_name_that_records_have_for_something_else(name: str) -> None:
    taken = Measure(metric=Metric(name=name), total=SPREAD.measures["mae"].total)
    with pytest.raises(SpecError, match=f"measure '{name}': every record has another {name}; choose another name"):
        replace(SPREAD, counts=name, measures={name: taken})


def test_the_names_that_are_taken_are_those_of_records_and_trackers() -> None:
    asked = {"data": {"name": "digits:a", "per_class": 5}, "model": "mlp", "rewind": "1it"}
    record = search({**asked, "training": {"budget": "2it"}}, levels=0).records[0]
    assert (record.keys() | {*RESULTS, "seconds"}) - {"accuracy"} == TAKEN


@pytest.mark.parametrize("name", ["precision", "start", "guard", "key", "arm"])
def test_a_measure_may_be_called_as_a_column_of_rows_is(name: str, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(OWN.replace('"top-2"', f'"{name}"'))
    (tmp_path / "weights.py").write_text("SECOND = 1\n")
    grid = {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}
    asked: dict[str, Any] = {"name": "own", "levels": [1], "replicates": 1, "arms": ["dense"], "parts": {"p": grid}}
    quick = {"training": {"budget": "2it"}, "rewind": "1it", "task": f"{tmp_path}/mine.py:task"}
    cells, store = plan(StudySpec(**asked, **quick), RunContext()).cells, Store(tmp_path / "store")
    assert not run([cell.step for cell in cells], store=store, context=RunContext()).failed
    (row,), record = rows(cells, store), store.get(cells[0].step).record
    assert (row["metric"], row["score"]) == (name, record[name])
    expected = {"precision": "float32", "start": 0, "guard": "gate+project", "key": cells[0].step.key, "arm": "dense"}
    assert row[name] == expected[name]


@pytest.mark.parametrize(("kept", "asked"), [("none", "mean"), ("mean", "none")])
def test_a_loss_that_is_always_reduced_alike_is_told(kept: str, asked: str) -> None:
    odd = replace(SPREAD, loss=lambda output, target, reduction: _absolute(output, target, kept))
    with pytest.raises(TrainingError, match=f"task spread: loss with reduction '{asked}': expected numbers: "):
        odd.training_loss(OUTPUT, TARGET, asked, 0.0)


def test_a_part_may_be_trained_for_another_task(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "weights.py").write_text("SECOND = 1\n")
    name = f"{tmp_path}/mine.py:task"
    grid = {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}
    parts = {"usual": grid, "other": {**grid, "task": name}}
    cells = plan(StudySpec(name="two", levels=[1], replicates=1, parts=parts), RunContext()).cells
    trained = {cell.part: cell.step.args["transfer"].get("task", {}).get("name") for cell in cells}
    assert trained == {"usual": None, "other": name}
    assert [origin.search["task"]["name"] for origin in searches(cells)] == ["classification", name]


def test_a_loss_that_fails_on_the_outputs_is_told_with_both_shapes() -> None:
    each = torch.zeros(6, 5, 4)  # a network that answers at each of 5 tokens, where one class an input is asked for
    words = r"task classification: its loss fails on outputs of shape \(6, 5, 4\) and targets of shape \(6,\): "
    with pytest.raises(TrainingError, match=words):
        TASKS["classification"].training_loss(each, TARGET, "mean", 0.0)
