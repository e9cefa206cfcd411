"""The learning rate as a function of the absolute step, so that a run can start anywhere on its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch.optim import Optimizer

from oneticket.ground.errors import SpecError
from oneticket.ground.table import Table
from oneticket.optim.spec import SCHEDULES as NAMES
from oneticket.optim.spec import OptimizerSpec

Schedule = Callable[[OptimizerSpec, int, int, int], float]
"""(spec, step, steps in an epoch, steps in all) -> the factor, before the warm-up's."""


def lr_factor(spec: OptimizerSpec, step: int, *, per_epoch: int, total: int) -> float:
    """What the learning rate of the update at `step` (0 is the first) is multiplied by.

    With a warm-up of W steps: min(1, (step + 1) / W), times

    - constant: 1
    - step: gamma ^ (number of milestones at or before `step`)
    - cosine: (1 + cos(pi * t)) / 2 with t = (step - W) / (total - W), kept within 0 and 1; 0 at `step = total`
    - your own: what its function makes of `step`, `per_epoch` and `total`, given by these names

    `per_epoch` is the number of steps in an epoch, `total` the number in the whole training. Raises SpecError for a
    schedule of your own that fails or gives no finite number of 0 or more.

    >>> spec = OptimizerSpec(name="sgd", schedule="step", milestones=("2ep", "3ep"), warmup="4it")
    >>> [round(lr_factor(spec, step, per_epoch=10, total=40), 3) for step in (0, 3, 19, 20, 30)]
    [0.25, 1.0, 1.0, 0.1, 0.01]
    """
    warmup = spec.warmup.steps(per_epoch)
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if SCHEDULES.is_own(spec.schedule):
        return rise * _own(spec.schedule, step, per_epoch, total)
    return rise * SCHEDULES[spec.schedule](spec, step, per_epoch, total)


def _constant(spec: OptimizerSpec, step: int, per_epoch: int, total: int) -> float:
    return 1.0


def _step(spec: OptimizerSpec, step: int, per_epoch: int, total: int) -> float:
    assert spec.gamma is not None
    return float(spec.gamma ** sum(time.steps(per_epoch) <= step for time in spec.milestones))


def _cosine(spec: OptimizerSpec, step: int, per_epoch: int, total: int) -> float:
    warmup = spec.warmup.steps(per_epoch)
    along = (step - warmup) / max(1, total - warmup)
    return (1 + math.cos(math.pi * min(1.0, max(0.0, along)))) / 2


def _own(name: str, step: int, per_epoch: int, total: int) -> float:
    with SCHEDULES.blamed(name):
        factor = float(SCHEDULES.own(name)(step=step, per_epoch=per_epoch, total=total))
    if not math.isfinite(factor) or factor < 0:
        raise SpecError(f"schedule {name!r}: expected a finite factor of 0 or more at step {step}, got {factor}")
    return factor


def set_lr(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set every group's learning rate to `factor` times its base, which is kept in the group as `initial_lr`.

    An optimizer without the base, not from `build`, gets its present learning rate as base at the first call. The base
    never changes, so factors do not multiply up.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


SCHEDULES: Table[Schedule] = NAMES.filled({"constant": _constant, "step": _step, "cosine": _cosine})
