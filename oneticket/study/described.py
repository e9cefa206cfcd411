"""A step in a few words, for progress, tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneticket.store.step import Step
from oneticket.study.steps import (
    Blank,
    ConsensusStep,
    FileStep,
    LevelStep,
    RewindStep,
    SourceTicket,
    TransferStep,
    read_step,
)


def describe(step: Step, arm: str = "") -> str:
    """A step in a few words. `arm`: what it stands for, where that is known; `own-reinit` is done as a `reinit`."""
    match asked := read_step(step):
        case FileStep():
            return f"reading {asked.kind} {asked.id[:16]}"
        case ConsensusStep():
            return f"what {len(asked.needs) // 2} searches agree on at level {asked.level}"
        case TransferStep(source=SourceTicket(level=level)):
            what = f"{arm or asked.arm} at level {level} on"
        case TransferStep(source=Blank(remaining=remaining)):
            what = f"{arm or asked.arm} of {remaining:,} on" if remaining else f"{arm or asked.arm} on"
        case LevelStep():
            what = f"level {asked.number} of"
        case RewindStep():
            what = "the first steps of"
    target = asked.target
    return f"{what} {target.data.called} with {target.optimizer.name}, replicate {asked.replicate}"


def described(defined: Mapping[str, Any] | None) -> str:
    """The same of a definition out of a store; what another version defined may have no words.

    >>> described(None)
    'of an unknown step'
    """
    try:
        return describe(Step(kind=defined["kind"], args=defined["args"])) if defined else "of an unknown step"
    except Exception:  # of any kind: its arguments are whatever another version or program wrote there
        return "of another version"
