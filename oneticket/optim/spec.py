"""Which optimizer, and how its learning rate moves."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from oneticket.ground.spec import Spec, Time
from oneticket.ground.table import Table
from oneticket.ground.when import When

OPTIMIZERS: Table[Mapping[str, Any]] = Table(
    kind="optimizer",
    rows={
        "sgd": {"lr": 0.02, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4},
        "adam": {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.0},
        "adamw": {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 1e-2},
        "rmsprop": {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0},
        "nadam": {"lr": 2e-3, "betas": (0.9, 0.999), "weight_decay": 0.0},
        "muon": {
            "lr": 0.02,
            "rest_lr": 1e-3,
            "momentum": 0.95,
            "nesterov": True,
            "betas": (0.9, 0.999),
            "weight_decay": 1e-2,
        },
    },
)
"""The optimizers known by name: each one's settings, with their defaults."""

SCHEDULES: Table[Mapping[str, Any]] = Table(
    kind="schedule", rows={"constant": {}, "step": {"gamma": 0.1}, "cosine": {}}
)
"""The learning-rate schedules known by name, likewise."""

MIXING = frozenset({"muon"})
"""Optimizers that mix the entries of a matrix."""

Rate = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSpec(Spec):
    """An optimizer and its learning-rate schedule.

    A field that is not given takes the default of the named optimizer or schedule. A field that does not apply is None
    (milestones: empty), and giving it is an error. So the spec always shows every setting in force. For an optimizer of
    your own, None means that your function chooses.

    >>> spec = OptimizerSpec(name="sgd")
    >>> spec.lr, spec.momentum, spec.weight_decay, spec.betas
    (0.02, 0.9, 0.0001, None)
    >>> OptimizerSpec(name="adam", momentum=0.9)
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: optimizer.momentum: does not apply to adam; leave it out
    """

    kind: ClassVar[str] = "optimizer"
    name: Annotated[str, OPTIMIZERS] = Field(
        description="The optimizer. muon trains the hidden weight matrices of linear layers, and AdamW the rest. Your"
        " own, as 'file.py:function', receives the settings that you give; each network then trains alone and masked.",
    )
    lr: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        validate_default=True,
        description="Peak learning rate: sgd 0.02, adam, adamw and rmsprop 0.001, nadam 0.002, muon 0.02.",
    )
    rest_lr: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        validate_default=True,
        description="muon only: learning rate of its AdamW. Usual: 0.001.",
    )
    momentum: Rate | None = Field(
        default=None, validate_default=True, description="Momentum: sgd 0.9, rmsprop 0, muon 0.95."
    )
    nesterov: bool | None = Field(
        default=None, validate_default=True, description="Nesterov momentum: sgd no, muon yes."
    )
    betas: tuple[Rate, Rate] | None = Field(
        default=None,
        validate_default=True,
        description="Betas of adam, adamw, nadam and muon's AdamW: 0.9,0.999.",
        examples=["0.9,0.999"],
    )
    weight_decay: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        validate_default=True,
        description="Weight decay: sgd 0.0001, adamw and muon 0.01, adam, nadam and rmsprop 0."
        " Decoupled from the gradient in adamw and muon.",
    )
    schedule: Annotated[str, SCHEDULES] = Field(
        default="constant",
        description="constant; step: multiplied by gamma at each milestone; cosine: down to 0 at the end of training;"
        " or your own factor as 'file.py:function'.",
    )
    milestones: tuple[Time, ...] = Field(
        default=(),
        validate_default=True,
        description="step only: the times at which the learning rate drops, such as 80ep and 120ep, all in one unit.",
    )
    gamma: Annotated[float, Field(gt=0)] | None = Field(
        default=None, validate_default=True, description="step only: the factor at each milestone. Usual: 0.1."
    )
    warmup: Time = Field(default=When(count=0, unit="it"), description="Linear warm-up of the learning rate.")

    @property
    def elementwise(self) -> bool:
        """Whether each weight is known to be updated by itself, so that weights can be skipped and networks stacked.

        >>> OptimizerSpec(name="sgd").elementwise, OptimizerSpec(name="muon").elementwise
        (True, False)
        """
        return self.name in OPTIMIZERS and self.name not in MIXING

    @field_validator("lr", "rest_lr", "momentum", "nesterov", "betas", "weight_decay")
    @classmethod
    def _of_optimizer(cls, value: Any, info: ValidationInfo) -> Any:
        return _settle(value, info, "name", OPTIMIZERS)

    @field_validator("gamma")
    @classmethod
    def _of_schedule(cls, value: Any, info: ValidationInfo) -> Any:
        return _settle(value, info, "schedule", SCHEDULES)

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value and info.data.get("momentum") == 0:
            raise ValueError("needs momentum above 0")
        return value

    @field_validator("milestones")
    @classmethod
    def _in_order(cls, value: tuple[When, ...], info: ValidationInfo) -> tuple[When, ...]:
        schedule = info.data.get("schedule")
        if schedule not in (None, "step") and value:
            raise ValueError(f"does not apply to a {schedule} schedule; leave it out, or set schedule to step")
        if schedule == "step" and not value:
            raise ValueError("a step schedule needs at least one, such as 80ep")
        if len({time.unit for time in value}) > 1:
            raise ValueError(f"expected one unit, ep or it, got {', '.join(map(str, value))}")
        if any(early >= late for early, late in pairwise([0, *(time.count for time in value)])):
            raise ValueError(f"expected rising times above 0, got {', '.join(map(str, value))}")
        return value


def _settle(value: Any, info: ValidationInfo, chooser: str, table: Table[Mapping[str, Any]]) -> Any:
    """The value given, or else the default in the chosen row; a field without default there does not apply.

    To an optimizer of the user's own every setting applies, to a schedule of the user's own none does.
    """
    chosen, field = info.data.get(chooser), info.field_name
    if chosen is None or field is None or (table is OPTIMIZERS and table.is_own(chosen)):
        return value
    row = table.get(chosen, {})
    if value is not None and field not in row:
        raise ValueError(f"does not apply to {chosen}; leave it out")
    return row.get(field) if value is None else value
