"""A requested training, its result, and work that requests trainings and continues with their results.

Work is a generator, so that its caller decides how the trainings are done: one by one, or several at once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn

from oneticket.data.data import Data
from oneticket.ground.streams import Streams
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.spec import TaskSpec
from oneticket.ticket.mask import Mask
from oneticket.training.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRequest:
    """Train `model` in place, `mask` held, from schedule step `start` to `stop` (None: the end), and measure it."""

    model: nn.Module
    mask: Mask
    data: Data
    optimizer: OptimizerSpec
    training: TrainingSpec
    streams: Streams
    task: TaskSpec = field(default_factory=TaskSpec)
    start: int = 0
    stop: int | None = None
    measured: bool = True


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a training: the losses of its steps (float32, CPU) and, if it was measured, its record.

    `zeros`: the remaining weights under the mask's names that training itself brought to zero; None if not kept.
    """

    losses: Tensor
    record: Mapping[str, Any]
    zeros: Mask | None


T = TypeVar("T")
Work = Generator[TrainingRequest, Trained, T]
