"""A task: the loss that a network is trained by, and the measures that it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, sqrt
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from oneticket.ground.brief import brief
from oneticket.ground.errors import SpecError, TrainingError, unknown
from oneticket.ground.metric import METRICS, Metric
from oneticket.task.spec import TASKS as NAMES
from oneticket.task.spec import Targets, TaskSpec

Loss = Callable[[Tensor, Tensor, str], Tensor]
"""(output, target, reduction) -> the loss: a scalar for "mean" and "sum", one value for each target for "none"."""


TAKEN = frozenset(
    (
        *("better", "classes", "commonest", "data_digest", "density", "examples", "images", "level", "living", "loss"),
        *("metric", "natural_zeros", "score", "seconds", "steps", "train_loss", "unit"),
    )
)
"""Names in records and trackers that no measure may have, since measures stand there by their names."""


def _same(mean: float) -> float:
    return mean


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of a trained network over a test set: `score(sum of each batch's total / number of targets)`.

    `total(output, target)`: the sum over a batch's targets, a scalar tensor. `score`: from the mean to the score.

    >>> import math, torch
    >>> rmse = Measure(metric=METRICS["rmse"], total=lambda out, target: (out - target).square().sum(), score=math.sqrt)
    >>> round(rmse.score(float(rmse.total(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))) / 2), 3)
    1.414
    """

    metric: Metric
    total: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[float], float] = _same

    __repr__ = brief


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network is trained for: a loss, measures, and the targets that the data must give.

    - `loss(output, target, reduction)`: see `Loss`; `smoothed`: the same with label smoothing as a fourth argument,
      None without it.
    - `measures`: metric name -> measure, computed for a trained network on a test set.
    - `counts`: the name of the measure by which results are compared.
    - `targets`: what the data must give, which decides how many outputs a network needs. "classes": int64 (N,), an
      output for each class. "numbers": float32 (N, K), K outputs; a network is trained on numbers scaled by the
      training part's mean and deviation, measures get outputs and targets in their own unit. "tokens": int64 (N, T),
      the token that follows each position; outputs (N, T, V) for a vocabulary of V. "given": those of your own data,
      unchanged.

    Raises SpecError if `targets` is none of these, `counts` is not a measure, or a measure has another name than its
    metric or a name that records use for something else (`TAKEN`).

    >>> TASKS["classification"].metric.name
    'accuracy'
    """

    name: str
    loss: Loss
    measures: Mapping[str, Measure]
    counts: str
    targets: Targets = "classes"
    smoothed: Callable[[Tensor, Tensor, str, float], Tensor] | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        if self.targets not in get_args(Targets):
            raise SpecError(f"task {self.name}: {unknown('kind of targets', self.targets, get_args(Targets))}")
        if self.counts not in self.measures:
            raise SpecError(f"task {self.name}: {unknown('measure', self.counts, self.measures)}")
        for name, measure in self.measures.items():
            if name in TAKEN:
                raise SpecError(
                    f"task {self.name}: measure {name!r}: every record has another {name}; choose another name"
                )
            if measure.metric.name != name:
                raise SpecError(
                    f"task {self.name}: measure {name!r} has the metric {measure.metric.name!r}; give both the same "
                    "name"
                )

    @property
    def metric(self) -> Metric:
        """The metric that results are compared by."""
        return self.measures[self.counts].metric

    def training_loss(self, output: Tensor, target: Tensor, reduction: str, smoothing: float) -> Tensor:
        """The loss of a training step: a scalar, or with reduction "none" one number for each target.

        `smoothing`: of labels, from 0 to 1 (Szegedy et al. 2016, arXiv 1512.00567). Raises TrainingError for smoothing
        in a task without it, and for a loss that fails on the network's outputs or has the wrong shape.

        >>> output, target = torch.tensor([[2.0, 2.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> TASKS["classification"].training_loss(output, target, "none", 0.0)
        tensor([0.6931, 0.3133])
        """
        if smoothing and self.smoothed is None:
            raise TrainingError(
                f"training.smoothing: labels can be smoothed where there are classes, not in {self.name}"
            )
        try:
            if smoothing and self.smoothed is not None:
                return self.smoothed(output, target, reduction, smoothing)
            loss = self.loss(output, target, reduction)
        except torch.OutOfMemoryError:
            raise
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            shapes = [f"shape {tuple(one.shape)}" if isinstance(one, Tensor) else repr(one) for one in (output, target)]
            raise TrainingError(
                f"task {self.name}: its loss fails on outputs of {shapes[0]} and targets of {shapes[1]}: {error}"
            ) from error
        if loss.numel() != (expected := target.numel() if reduction == "none" else 1):
            raise TrainingError(
                f"task {self.name}: loss with reduction {reduction!r}: expected numbers: {expected}, got a tensor "
                f"of shape {tuple(loss.shape)}"
            )
        return loss


def task_of(spec: TaskSpec) -> Task:
    """The task of that spec. For a task of your own this runs the code of its file.

    Raises SpecError for a task that cannot be found, fails, or returns anything but a Task.

    >>> from oneticket.task.spec import TaskSpec
    >>> task_of(TaskSpec(name="regression")).metric.name
    'rmse'
    """
    if not TASKS.is_own(spec.name):
        return TASKS[spec.name]
    with TASKS.blamed(spec.name):
        made = TASKS.own(spec.name)()
    if not isinstance(made, Task):
        raise SpecError(f"task {spec.name!r}: expected a oneticket.Task, got {type(made).__name__}")
    return made


def _classified(output: Tensor, target: Tensor, reduction: str, smoothing: float = 0.0) -> Tensor:
    return cross_entropy(output, target, label_smoothing=smoothing, reduction=reduction)


def _right(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).sum()


def _classification() -> Task:
    accuracy = Measure(metric=METRICS["accuracy"], total=_right)
    return Task(
        name="classification",
        loss=_classified,
        smoothed=_classified,
        measures={"accuracy": accuracy},
        counts="accuracy",
    )


def _squared(output: Tensor, target: Tensor, reduction: str) -> Tensor:
    return mse_loss(output, target, reduction=reduction)


def _regression() -> Task:
    rmse = Measure(metric=METRICS["rmse"], total=lambda output, target: _squared(output, target, "sum"), score=sqrt)
    return Task(name="regression", loss=_squared, measures={"rmse": rmse}, counts="rmse", targets="numbers")


def _followed(output: Tensor, target: Tensor, reduction: str, smoothing: float = 0.0) -> Tensor:
    """Outputs (N, T, V) and the tokens (N, T) that follow."""
    loss = _classified(output.flatten(0, 1), target.flatten(), reduction, smoothing)
    return loss.view(target.shape) if reduction == "none" else loss


def _bits(nats: float) -> float:
    return nats / log(2)


def _language() -> Task:
    bits = Measure(
        metric=METRICS["bits_per_byte"], total=lambda output, target: _followed(output, target, "sum"), score=_bits
    )
    return Task(
        name="language",
        loss=_followed,
        smoothed=_followed,
        measures={"bits_per_byte": bits},
        counts="bits_per_byte",
        targets="tokens",
    )


CLASSIFICATION = _classification()
"""One of several classes: cross-entropy, judged by accuracy."""

REGRESSION = _regression()
"""Numbers: mean squared error of scaled numbers, judged by its root in the numbers' own unit."""

LANGUAGE = _language()
"""The token that follows each: cross-entropy, judged by bits per byte; tokens are bytes."""

TASKS = NAMES.filled({task.name: task for task in (CLASSIFICATION, REGRESSION, LANGUAGE)})
