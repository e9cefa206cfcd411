"""A run: what trackers show of a step that trained a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from oneticket.ground.metric import Metric, score_of
from oneticket.store.step import Outcome, Step
from oneticket.study.steps import Blank, LevelStep, SourceTicket, TrainingStep, TransferStep, measured, training_step

POINTS = 500  # of a curve; where there are more losses, each point is the mean of as many
RESULTS = ("loss", "density", "living", "natural_zeros", "steps")


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A training as trackers show it: settings as flat names and values, losses by step, results at the end."""

    key: str
    name: str
    settings: Mapping[str, str | int | float]
    losses: tuple[tuple[int, float], ...]
    results: Mapping[str, float]


def run_of(step: Step, outcome: Outcome, seconds: float | None = None) -> TrackedRun | None:
    """A step as a run; None if it trained no network that was measured. `seconds`: how long it took, if known.

    >>> run_of(Step(kind="rewind", args={"seed": 0}), Outcome(record={"step": 20}, tensors={})) is None
    True
    """
    begun = begun_run(step)
    if begun is None:
        return None
    losses = TransferStep.decode(outcome).losses.double()
    record, score = outcome.record, score_of(outcome.record)
    results = {} if score is None else {Metric.of(record).name: float(score)}
    results |= {name: float(record[name]) for name in RESULTS}
    return replace(
        begun,
        losses=points(losses, 0, len(losses)),
        results=results if seconds is None else {**results, "seconds": seconds},
    )


def points(losses: Tensor, since: int, until: int) -> tuple[tuple[int, float], ...]:
    """The points of the curve of all these losses that are complete from one position to another, the last one short.

    >>> import torch
    >>> points(torch.arange(1000.0), 994, 1000)
    ((996, 994.5), (998, 996.5), (1000, 998.5))
    """
    each, most = -(-len(losses) // POINTS), len(losses)
    parts = ((at, min(at + each, most)) for at in range(since, until, each))
    return tuple((end, float(losses[at:end].cpu().double().mean())) for at, end in parts if end <= until)


def begun_run(step: Step) -> TrackedRun | None:
    """A step that is begun as a run without losses and results; None if it trains no network that is measured."""
    if not measured(step):
        return None
    settings = dict(_flat({"step": step.kind, **step.args, "source": _origin(step)}))
    return TrackedRun(key=step.key, name=_name(training_step(step)), settings=settings, losses=(), results={})


def _origin(step: Step) -> dict[str, Any]:
    """What its source was trained with, of a transfer."""
    source = step.needs[:2][-1:] if isinstance(training_step(step), TransferStep) else ()
    return {name: value for need in source for name, value in need.args.items() if name not in ("level", "replicate")}


def _name(asked: TrainingStep) -> str:
    """What a run is called; safe as the name of a folder."""
    match asked:
        case TransferStep(source=SourceTicket(level=level)):
            deep = [f"level-{level}"]
        case TransferStep(source=Blank(remaining=remaining)):
            deep = [] if remaining is None else [f"living-{remaining}"]
        case LevelStep(number=number):
            deep = [f"level-{number}"]
        case _:
            deep = []
    arm = asked.arm if isinstance(asked, TransferStep) else "search"
    words = [arm, asked.target.data.called, asked.target.optimizer.name, *deep, f"replicate-{asked.replicate}"]
    return re.sub(r"[^\w.-]+", "-", "-".join([*words, asked.step.key[:12]]))


def _flat(table: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Names joined by dots and values that every tracker knows; what is not set is left out."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        elif value is not None:
            plain = isinstance(value, str | int | float) and not isinstance(value, bool)
            yield f"{under}{name}", value if plain else json.dumps(value)
