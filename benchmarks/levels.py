"""Seconds per level of a search, LeNet-300-100 on Fashion-MNIST, one thread: compacted, masked, and the floor.

Two searches of 30 levels go down side by side in one process, a level of one and then of the other, the floor's as many
steps after them; the seconds are those that the stores say, so that evaluation, pruning and files are part of them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.row import Row, absent, row
from benchmarks.side import lacking
from benchmarks.stacks import stack
from benchmarks.whole import MODEL, SHORT
from oneticket.engine import inline
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store.store import Store
from oneticket.study.origins import search_origin

LEVELS, ROUNDS = 30, 3
TARGETS = {20: "<= 0.7", 30: "<= 0.5"}
OVER_FLOOR = {30: "<= 0.45"}
COMPACT, MASKED, FLOOR = "oneticket", "oneticket, masked only", "floor"


def search(replicate: int, levels: int, spec: SearchSpec) -> list[dict[str, Any]]:
    """One point per side and level: side, replicate, level, density, seconds."""
    points: list[dict[str, Any]] = []
    floor, places = stack("floor", MODEL), {COMPACT: RunContext(), MASKED: RunContext(compact=False)}
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: Store(Path(folder) / name) for name in places}
        origin = search_origin(spec, levels=levels, replicate=replicate, context=places[COMPACT])
        for level, step in enumerate(origin.levels):
            for name, context in places.items():
                piles = inline.run([step], store=stores[name], context=context)
                if piles.failed:
                    raise piles.failed[0][1]
                density = stores[name].record(step)["density"]
                provenance = stores[name].provenance(step)
                point = {"side": name, "level": level, "density": density, "seconds": provenance["seconds"]}
                points.append({**point, "how": provenance.get("how", "")})
            began = time.perf_counter()
            floor.train(stores[COMPACT].record(step)["steps"])
            points.append({"side": FLOOR, "level": level, "density": density, "seconds": time.perf_counter() - began})
    return [{**point, "replicate": replicate} for point in points]


def over(points: list[dict[str, Any]], levels: int) -> list[float]:
    """Per replicate, the mean time of the levels from 0 to `levels` over that of level 0."""
    found = []
    for replicate in dict.fromkeys(point["replicate"] for point in points):
        taken = {point["level"]: point["seconds"] for point in points if point["replicate"] == replicate}
        found.append(mean(taken[level] for level in range(levels + 1)) / taken[0])
    return found


def over_floor(points: list[dict[str, Any]], levels: int) -> list[float]:
    """Per replicate, the time of the levels from 0 to `levels` over that of the floor's, of as many steps each."""
    found = []
    for replicate in dict.fromkeys(point["replicate"] for point in points):
        mine = [point for point in points if point["replicate"] == replicate and point["level"] <= levels]
        ours, floor = (sum(one["seconds"] for one in mine if one["side"] == side) for side in (COMPACT, FLOOR))
        found.append(ours / floor)
    return found


def rows(rounds: int = ROUNDS, levels: int = LEVELS, **training: Any) -> list[Row]:
    """Mean time of a level over that of level 0, with compaction and without."""
    what = "LeNet-300-100, mean time per level"
    if why := lacking():
        return [absent(f"{what} over {n} levels / level 0", why, target=target) for n, target in TARGETS.items()]
    torch.set_num_threads(1)
    spec = SearchSpec.read({**SHORT.spec, "training": {**SHORT.spec["training"], **training}})
    points = [point for replicate in range(rounds) for point in search(replicate, levels, spec)]
    sides = {name: [point for point in points if point["side"] == name] for name in (COMPACT, MASKED, FLOOR)}
    note = f"{SHORT.budget - SHORT.rewind} steps a level, with its evaluation and pruning; one thread"
    found = [
        row(f"{what} over {n} levels / level 0", over(sides[COMPACT], n), target=target, note=note)
        for n, target in TARGETS.items()
        if n <= levels
    ]
    for n in (n for n in TARGETS if n <= levels):
        target = OVER_FLOOR.get(n, "")
        found.append(row(f"{what} over {n} levels / floor", over_floor(points, n), target=target, note=note))
        found.append(row(f"{what} over {n} levels / level 0, masked only", over(sides[MASKED], n), note="--no-compact"))
    for name, taken in sides.items():
        for level in (0, 10, 20, 30):
            if seconds := [point["seconds"] for point in taken if point["level"] == level]:
                found.append(row(f"{name}: level {level}", seconds, "s"))
    return [{**found[0], "points": points}, *found[1:]]
