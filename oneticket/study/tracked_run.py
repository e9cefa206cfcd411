"""A run: what trackers show of a step that trained a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oneticket.ground.metric import Metric, score_of
from oneticket.store.step import Outcome, Step

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
    if "losses" not in outcome.tensors:
        return None
    losses, each = outcome.tensors["losses"].double(), -(-len(outcome.tensors["losses"]) // POINTS)
    source = step.needs[:2][-1:] if step.kind == "transfer" else ()
    origin = {name: value for need in source for name, value in need.args.items() if name not in ("level", "replicate")}
    record, score = outcome.record, score_of(outcome.record)
    results = {} if score is None else {Metric.of(record).name: float(score)}
    results |= {name: float(record[name]) for name in RESULTS}
    return TrackedRun(
        key=step.key,
        name=_name(step),
        settings=dict(_flat({"step": step.kind, **step.args, "source": origin})),
        losses=tuple(
            (min(at + each, len(losses)), float(losses[at : at + each].mean())) for at in range(0, len(losses), each)
        ),
        results=results if seconds is None else {**results, "seconds": seconds},
    )


def _name(step: Step) -> str:
    """What a run is called; safe as the name of a folder."""
    args: Mapping[str, Any] = step.args
    target = args.get("transfer", args)
    deep = [f"{name}-{args[name]}" for name in ("level", "living") if args.get(name) is not None]
    words = [args.get("arm", "search"), target["data"]["name"], target["optimizer"]["name"], *deep]
    return re.sub(r"[^\w.-]+", "-", "-".join([*words, f"replicate-{args['replicate']}", step.key[:12]]))


def _flat(table: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Names joined by dots and values that every tracker knows; what is not set is left out."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        elif value is not None:
            plain = isinstance(value, str | int | float) and not isinstance(value, bool)
            yield f"{under}{name}", value if plain else json.dumps(value)
