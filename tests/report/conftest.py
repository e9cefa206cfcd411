"""Rows of made-up studies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from oneticket.lottery.arms import WHOLE

Rows = list[dict[str, Any]]
FALL = {"ticket": 0.02, "own": 0.01, "signs": 0.1, "reinit": 0.35, "layerwise-random": 0.5, "global-random": 0.86}


def made_up(
    *,
    arms: Iterable[str] = ("dense", "ticket", "reinit", "global-random"),
    optimizers: Iterable[str] = ("sgd", "adam"),
    sources: Iterable[tuple[str, str]] = (("digits:a", "sgd"),),
    levels: Iterable[int] = range(21),
    replicates: Iterable[int] = range(3),
    fall: Mapping[str, float] = FALL,
    spread: float = 0.004,
) -> Rows:
    """Transfers to digits:b: at 0.8^20 each arm has lost its `fall`, give or take `spread`."""
    draw, rows, levels, replicates = random.Random(0), [], tuple(levels), tuple(replicates)
    found = {"dense": [(None, None)]}
    for optimizer in optimizers:
        shared = {"model": "lenet-300-100", "target_data": "digits:b", "target_optimizer": optimizer, "head": "fresh"}
        for replicate in replicates:
            for arm in arms:
                for data, by in {**found, "own": [("digits:b", optimizer)]}.get(arm, sources):
                    for level in (0,) if arm in WHOLE else levels:
                        accuracy = 0.97 - fall.get(arm, 0.0) * (level / 20) ** 2 + draw.gauss(0, spread)
                        row = {
                            **shared,
                            "arm": arm,
                            "source_data": data,
                            "source_optimizer": by,
                            "level": level,
                            "density": 0.8**level,
                            "replicate": replicate,
                            "accuracy": min(1.0, max(0.0, accuracy)),
                        }
                        rows.append(row)
    return rows


def search(**study: Any) -> Rows:
    """A search on digits:a: its dense network at level 0, its tickets below, source and target the same."""
    rows = made_up(arms=("dense", "ticket"), optimizers=("sgd",), **study)
    at = {"target_data": "digits:a", "source_data": "digits:a", "source_optimizer": "sgd", "head": "keep"}
    return [{**row, **at} for row in rows if row["arm"] == "dense" or row["level"] > 0]


@pytest.fixture
def study() -> Callable[..., Rows]:
    return made_up


@pytest.fixture
def searched() -> Callable[..., Rows]:
    return search
