"""What to search and where to transfer it, as specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from oneticket.data.spec import DataSpec
from oneticket.ground.spec import Later, Spec, Time, over
from oneticket.ground.when import When
from oneticket.models.spec import EACH_TOKEN, MODELS, ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.pruning.spec import PruningSpec
from oneticket.task.spec import TARGETS, TASKS, USUAL, TaskSpec
from oneticket.training.spec import TrainingSpec

MOST_LEVELS = 100
"""The deepest that a search may go; 0.8^100 keeps two weights in ten thousand million."""


HeadStart = Literal["equal", "paper"]
"""Whether target steps inside rewound weights count; see `lottery/accounting`."""

Weights = Literal["initial", "mean"]
"""What a consensus starts from: the weights that all its searches began from, or the mean of their rewound ones."""


class SearchSpec(Spec):
    """A search for tickets. Its depth is not part of it: level n is the same work, however many levels follow.

    Optimizer, training and rewind point have defaults that depend on the task (`task.spec.USUAL`); `plain()` is
    complete.

    >>> SearchSpec(data="digits:a", model="lenet-300-100").optimizer.name
    'sgd'
    >>> SearchSpec(data=["cifar10", "svhn"], model="conv-4").data.called
    'cifar10+svhn'
    >>> SearchSpec(data="./bible.txt", task="language", model="byte-gpt", training={"batch": 4}).optimizer.name
    'adamw'
    """

    kind: ClassVar[str] = "search"

    data: DataSpec
    task: Annotated[TaskSpec, Later(neutral={"name": "classification"}, since="0.2")] = TaskSpec()
    model: ModelSpec
    optimizer: OptimizerSpec = OptimizerSpec(name="sgd")
    training: TrainingSpec = TrainingSpec()
    pruning: PruningSpec = PruningSpec()
    rewind: Time = Field(
        When(count=1, unit="ep"),
        description="The point of training whose weights every level starts from.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Root of all random streams.")

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        return _filled(given, "optimizer", "training", "rewind")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_folding(self)
        _check_smoothing(self)
        check_outputs(self.task, self.model)
        _check_sets(self)
        return self


class TransferSpec(Spec):
    """The target of a transfer, and how a ticket trains there. Nothing is pruned on the target.

    Optimizer and training have defaults that depend on the task.

    >>> TransferSpec(data="digits:b", optimizer="adam").head
    'fresh'
    """

    kind: ClassVar[str] = "transfer"

    data: DataSpec
    task: Annotated[TaskSpec, Later(neutral={"name": "classification"}, since="0.2")] = TaskSpec()
    optimizer: OptimizerSpec = OptimizerSpec(name="sgd")
    training: TrainingSpec = TrainingSpec()
    head: Literal["fresh", "keep", "sparse"] = Field(
        "fresh",
        description="The output layer on the target: new, the ticket's own, or the ticket's own under its mask.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Root of all random streams.")

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        return _filled(given, "optimizer", "training")

    @model_validator(mode="after")
    def _foldable(self) -> Self:
        _check_folding(self)
        _check_smoothing(self)
        _check_sets(self)
        return self


def _filled(given: Any, *fields: str) -> Any:
    """What was given, over what is usual for its task. An optimizer that is named has its own usual settings."""
    if not isinstance(given, Mapping):
        return given
    task = given.get("task", "classification")
    name = task.get("name") if isinstance(task, Mapping) else getattr(task, "name", task)
    usual = USUAL.get(name, {}) if isinstance(name, str) else {}
    made = {**{field: usual[field] for field in fields if field in usual}, **given}
    optimizer, training = given.get("optimizer"), given.get("training")
    if isinstance(optimizer, Mapping) and "name" not in optimizer:
        made["optimizer"] = over(usual.get("optimizer", {"name": "sgd"}), optimizer)
    if isinstance(training, TrainingSpec):
        training = {field: getattr(training, field) for field in training.model_fields_set}
    if isinstance(training, Mapping):
        made["training"] = {**usual.get("training", {}), **training}
    return made


def check_outputs(task: TaskSpec, model: ModelSpec) -> None:
    """Refuse a known model that answers once an input where the task asks at each token, and the other way round."""
    if MODELS.is_own(model.name) or TASKS.is_own(task.name):
        return
    each = TARGETS[task.name] == "tokens"
    if each != (model.name in EACH_TOKEN):
        gives, asks = ("once an input", "at each token") if each else ("at each token", "once an input")
        known = f"; models that do: {', '.join(sorted(EACH_TOKEN))}" if each else ""
        raise ValueError(f"model.name: {model.name} answers {gives}, the task {task.name} asks {asks}{known}")


def _check_folding(spec: SearchSpec | TransferSpec) -> None:
    if spec.training.folds and not spec.optimizer.elementwise:
        raise ValueError(
            f"training.guard {spec.training.guard}: folding needs an optimizer that updates every weight by itself, "
            f"got {spec.optimizer.name}; take gate+project"
        )


def _check_sets(spec: SearchSpec | TransferSpec) -> None:
    """Refuse several sets for a task that has no classes, or whose loss is not known."""
    if spec.data.beside and spec.task.name != "classification":
        raise ValueError(
            f"data {spec.data.called}: several datasets share a network for classification alone, not for "
            f"{spec.task.name}; give one"
        )


def _check_smoothing(spec: SearchSpec | TransferSpec) -> None:
    """Refuse smoothed labels for numeric targets before anything is trained; tasks of your own refuse later."""
    name = spec.task.name
    if spec.training.smoothing and not TASKS.is_own(name) and TARGETS[name] == "numbers":
        raise ValueError(
            f"training.smoothing {spec.training.smoothing:g}: labels can be smoothed where there are classes, not in "
            f"{name}; leave it out"
        )
