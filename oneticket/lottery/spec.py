"""What to search and where to carry it, as specs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from oneticket.data.spec import DataSpec
from oneticket.ground.spec import Later, Spec, Time
from oneticket.ground.when import When
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.pruning.spec import PruningSpec
from oneticket.task.spec import TaskSpec
from oneticket.training.spec import TrainingSpec

MOST_LEVELS = 100
"""The deepest that a search may go; 0.8^100 keeps two weights in ten thousand million."""

Control = Literal[
    "own",
    "reinit",
    "permuted-weights",
    "layerwise-random",
    "layerwise-random-kept",
    "global-random",
    "corrected-random",
    "signs",
]
"""The networks that a transfer sets beside the dense one and the ticket; `lottery/controls` says what each is."""


class SearchSpec(Spec):
    """A search for tickets. How deep it goes is not part of it: level n is the same work however many follow.

    >>> SearchSpec(data="digits:a", model="lenet-300-100").optimizer.name
    'sgd'
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

    @model_validator(mode="after")
    def _foldable(self) -> Self:
        _check_folding(self)
        return self


class TransferSpec(Spec):
    """Where a ticket is carried, and how it trains there. Nothing is pruned on the target.

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

    @model_validator(mode="after")
    def _foldable(self) -> Self:
        _check_folding(self)
        return self


def _check_folding(spec: SearchSpec | TransferSpec) -> None:
    if spec.training.folds and not spec.optimizer.elementwise:
        raise ValueError(
            f"training.guard {spec.training.guard}: folding needs an optimizer that updates every weight by itself, "
            f"got {spec.optimizer.name}; take gate+project"
        )
