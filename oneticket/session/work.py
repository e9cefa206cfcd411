"""Work: how much each step of a plan trains, so that a long training counts as one in the time that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oneticket.ground.errors import DataError
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.study.estimate import kind_of
from oneticket.study.steps import SourceTicket, TransferStep, training_step, trains


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step takes: `updates` of an optimizer, None where they are not known, on so many examples in all."""

    updates: int | None = None
    examples: float = 1.0


def work(steps: Sequence[Step], context: RunContext) -> dict[str, Work]:
    """The work of each step by address; nothing where the data cannot be planned with.

    Trainings of tickets from files are not looked into: they are of one comparison, with one budget.
    """
    trained = [step for step in steps if trains(step)]
    if any(_from_file(step) for step in trained):
        return {}
    try:
        kinds = {step.key: kind_of(step, context) for step in trained}
    except DataError:  # raised again where the data are needed
        return {}
    return {
        key: Work(updates=kind.updates, examples=float(max(kind.updates * kind.training.batch, 1)))
        for key, kind in kinds.items()
    }


def _from_file(step: Step) -> bool:
    asked = training_step(step)
    return isinstance(asked, TransferStep) and isinstance(asked.source, SourceTicket) and asked.source.file is not None
