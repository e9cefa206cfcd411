"""How to train, as a spec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from oneticket.ground.spec import Spec, Time
from oneticket.ground.when import When


def _some(budget: When) -> When:
    if not budget.count:
        raise ValueError(f"expected a time above 0, got {budget}")
    return budget


class TrainingSpec(Spec):
    """Length, batch and arithmetic of one training.

    >>> TrainingSpec(budget="2ep").plain()["budget"]
    '2ep'
    """

    kind: ClassVar[str] = "training"

    budget: Annotated[Time, AfterValidator(_some)] = Field(
        When(count=15, unit="ep"), description="How long a network trains: epochs (15ep) or steps (500it)."
    )
    batch: int = Field(64, ge=1, description="Batch size.")
    smoothing: float = Field(0.0, ge=0, lt=1, description="Label smoothing.")
    clip: float | None = Field(None, gt=0, description="Clip the gradient to this norm.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Arithmetic of the forward pass; weights stay float32. float16 needs CUDA."
    )
    guard: Literal["gate+project", "project", "gate+project+fold"] = Field(
        "gate+project",
        description="How pruned weights stay zero: gate gradients and project weights, or project weights only; "
        "with fold, units without remaining inputs become constants of the next layer.",
    )

    @property
    def folds(self) -> bool:
        """Whether units without remaining inputs are folded into the next layer.

        >>> TrainingSpec(guard="gate+project+fold").folds, TrainingSpec().folds
        (True, False)
        """
        return self.guard.endswith("+fold")
