"""Made-up findings of a study: what its store would give, with a truth that is known."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from oneticket.study.findings import Findings
from oneticket.study.grid import Plan

Rows = list[dict[str, Any]]
SETS = ("fashion_mnist", "svhn", "cifar10", "cifar100")
TIED = ("reinit", "layerwise-random", "corrected-random")
FALL = {"ticket": 0.04, "own": 0.04, "reinit": 0.10, "layerwise-random": 0.12, "corrected-random": 0.15}
BEST = {"fashion_mnist": 0.88, "svhn": 0.8, "cifar10": 0.62, "cifar100": 0.35}


def findings(
    *,
    sources: Iterable[str] = SETS,
    targets: Iterable[str] = SETS,
    arms: Iterable[str] = ("dense", "ticket", "own", "reinit", "layerwise-random", "global-random"),
    optimizers: Iterable[str] = ("sgd",),
    levels: Iterable[int] = (11, 17, 20),
    replicates: int = 3,
    layers: int = 10,
    zeros: float = 0.0,
    lost: Iterable[tuple[str, int, int]] = (),
    part: str = "datasets",
) -> Findings:
    """Every source carried to every target; `lost`: the (arm, level, replicate) that were not trained."""
    draw, rows, missing, levels, lost = random.Random(0), [], [], tuple(levels), set(lost)
    sources, targets, optimizers, arms = tuple(sources), tuple(targets), tuple(optimizers), tuple(arms)
    noise: dict[str, float] = {}
    for source, before in [(source, before) for source in sources for before in optimizers]:
        for target, after in [(target, after) for target in targets for after in optimizers]:
            for replicate in range(replicates):
                for arm in arms:
                    if arm in ("own", "mask-only", "weights-only") and (source, before) == (target, after):
                        continue
                    by = {"dense": (None, None), "global-random": (None, None), "own": (target, after)}
                    data, found = by.get(arm, (source, before))
                    for level in (0,) if arm == "dense" else levels:
                        trained = "ticket" if arm == "own" else arm
                        key = f"{part}/{trained}/{data}/{found}/{target}/{after}/{level}/{replicate}"
                        same = (data, found) == (target, after)
                        fall = FALL.get(arm, 0.0 if arm == "dense" else 0.28) + (0.0 if same else 0.02)
                        wobble = noise.setdefault(key, draw.gauss(0, 0.008))
                        row = {
                            "arm": arm,
                            "model": "vgg-11",
                            "source_data": data,
                            "source_optimizer": found,
                            "target_data": target,
                            "target_optimizer": after,
                            "level": level,
                            "replicate": replicate,
                            "part": part,
                        }
                        if (arm, level, replicate) in lost:
                            missing.append(row)
                            continue
                        row |= {
                            "density": 0.8**level,
                            "accuracy": BEST.get(target, 0.9) - (0 if arm == "dense" else fall * level / 20) + wobble,
                            "living": int(150_000 * 0.8**level),
                            "natural_zeros": zeros if arm == "dense" else 0.0,
                            "head": "fresh",
                            "seconds": 20.0,
                            "key": key,
                        }
                        rows.append(row)
    searches = [(source, by) for source in sources for by in optimizers]
    return Findings(
        plan=Plan(name="made", cells=(), title="A made-up study"),
        rows=rows,
        missing=missing,
        layers=_layers(searches, levels, replicates, layers, draw),
        overlaps=_overlaps(searches, levels, replicates, draw),
        curves=_curves(rows, draw),
        ledger=_ledger(searches, levels, replicates, len(targets) * len(optimizers)),
        protocol={},
        trained=len(rows),
    )


def _layers(searches: list[tuple[str, str]], levels: tuple[int, ...], replicates: int, many: int, draw: Any) -> Rows:
    made = []
    for source, by in searches:
        for replicate in range(replicates):
            for level in (0, *levels):
                for position in range(many):
                    total = 1000 * (position + 1)
                    share = min(1.0, 0.8**level * (3 - 2.5 * position / many) * draw.uniform(0.9, 1.1))
                    made.append(
                        {
                            "model": "vgg-11",
                            "source_data": source,
                            "source_optimizer": by,
                            "replicate": replicate,
                            "level": level,
                            "density": 0.8**level,
                            "layer": f"features.{3 * position}.weight",
                            "position": position,
                            "living": 0 if level == 20 and position == many - 1 else round(total * share),
                            "total": total,
                        }
                    )
    return made


def _overlaps(searches: list[tuple[str, str]], levels: tuple[int, ...], replicates: int, draw: Any) -> Rows:
    return [
        {
            "model": "vgg-11",
            "a": f"{a} ({with_a})",
            "b": f"{b} ({with_b})",
            "replicate": replicate,
            "level": level,
            "density": 0.8**level,
            "overlap": min(1.0, 0.8**level * 1.3 + 0.2 * (1 - 0.8**level) * draw.uniform(0.9, 1.1)),
            "chance": 0.8**level,
        }
        for number, (a, with_a) in enumerate(searches)
        for b, with_b in searches[number + 1 :]
        for replicate in range(replicates)
        for level in levels
    ]


def _curves(rows: Rows, draw: Any) -> Rows:
    names = ("part", "model", "arm", "source_data", "source_optimizer", "target_data", "target_optimizer", "level")
    return [
        {name: row[name] for name in (*names, "density", "replicate")}
        | {"step": step, "loss": 2.3 * (1 - row["accuracy"]) * (0.3 + 60 / (60 + step)) * draw.uniform(0.9, 1.1)}
        for row in rows
        for step in range(100, 501, 100)
    ]


def _ledger(searches: list[tuple[str, str]], levels: tuple[int, ...], replicates: int, targets: int) -> Rows:
    trainings = (max(levels) + 2) * replicates
    return [
        {
            "model": "vgg-11",
            "source_data": source,
            "source_optimizer": by,
            "replicates": replicates,
            "levels": max(levels),
            "trainings": trainings,
            "steps": 500 * trainings,
            "examples": 25_000 * trainings,
            "seconds": 11.0 * trainings * (1 + number / 10),
            "transferred": targets * len(levels) * replicates,
            "searches_saved": targets - 1,
            "seconds_saved": 11.0 * trainings * (1 + number / 10) * (targets - 1),
        }
        for number, (source, by) in enumerate(searches)
    ]
