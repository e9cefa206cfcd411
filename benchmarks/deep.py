"""VGG-19: what a level costs, counted in multiply-adds and as timed, from a real search.

`make bench PARTS=deep BOOK=book-0.safetensors STORE=.oneticket` reads the masks of every level from the book and, where
a store is given, the seconds of the same levels from that; nothing is trained here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.row import Row, absent, row
from oneticket.compact.compact import compact
from oneticket.compact.flops import flops
from oneticket.lottery.spec import SearchSpec
from oneticket.models.build import build
from oneticket.models.spec import ModelSpec
from oneticket.store.store import Store
from oneticket.task.inputs import Inputs
from oneticket.ticket.book import Book

COUNTED = "VGG-19, counted multiply-adds per level, mean over 30 levels / level 0"
TIMED = "VGG-19, seconds per level, mean over 30 levels / level 0"
FULL = "VGG-19 on CIFAR-10, the paper's full search (31 x 160 epochs, batch 512)"
EPOCHS, EPOCH, LEVELS = 160, 97, 30


def counted(book: Book, batch: int) -> list[int]:
    """Multiply-adds of one image's forward pass at every level, as the network is trained there."""
    shape, classes = tuple(book.model["shape"]), book.model["classes"]
    found = []
    for ticket in book:
        model = build(ModelSpec.read(book.model["spec"]), inputs=Inputs(shape=shape), outputs=classes, seed=0)
        ticket.apply(model, head="keep")
        made = compact(model, ticket.mask, example=torch.zeros(batch, *shape))
        found.append(flops(made.network, torch.zeros(1, *shape)))
    return found


def timed(book: Book, store: Store) -> dict[int, dict[str, Any]]:
    """Level -> the provenance of the step that trained it, and its number of optimizer steps."""
    search = book.lineage["search"]
    known = store.definitions(store.keys())
    keys = {
        key: of["args"]["level"]
        for key, of in known.items()
        if of["kind"] == "level"
        and all(of["args"].get(name) == value for name, value in search.items())
        and of["args"]["replicate"] == book.lineage["replicate"]
    }
    heads, said = store.heads(keys), store.provenances(keys)
    return {
        keys[key]: {**said[key], "steps": heads[key].record["steps"]} for key in keys if key in heads and key in said
    }


def over(costs: Sequence[float]) -> list[float]:
    """The mean of all levels over the first."""
    return [mean(costs[: LEVELS + 1]) / costs[0]]


def rows(book: str = os.environ.get("BOOK", ""), store: str = os.environ.get("STORE", "")) -> list[Row]:
    """Mean cost of a level over level 0's; without a book, what it takes."""
    why = "it takes the book of a search (BOOK=...), and its store for seconds (STORE=...)"
    missing = [
        absent(COUNTED, why, target="<= 0.6"),
        absent(TIMED, why),
        absent(FULL, why, unit="min", target="<= 30"),
    ]
    if not book:
        return missing
    read = Book.load(Path(book))
    spec = SearchSpec.read(read.lineage["search"])
    costs = counted(read, min(spec.training.batch, 128))
    points = [
        {"level": level, "density": density, "cost": cost / costs[0], "side": "counted"}
        for level, (density, cost) in enumerate(zip(read.densities, costs, strict=True))
    ]
    said = f"{read.levels} levels of {spec.training.budget}, batch {spec.training.batch}"
    found = [{**row(COUNTED, over(costs), target="<= 0.6", note=f"{said}; forms chosen on this CPU"), "points": points}]
    if not store:
        return found + missing[1:]
    levels = timed(read, Store(store))
    if set(range(LEVELS + 1)) - set(levels):
        return [*found, absent(TIMED, f"the store has {len(levels)} of its levels"), missing[2]]
    ordered = [levels[level] for level in range(LEVELS + 1)]
    seconds = [level["seconds"] for level in ordered]
    note = f"{said}, {ordered[0]['steps']:,} steps each; timed on {ordered[0]['device']}"
    if not all(level["device"].startswith("cuda") for level in ordered):
        return [
            *found,
            row(TIMED, over(seconds), note=note),
            absent(FULL, "the seconds are of a CPU", unit="min", target="<= 30"),
        ]
    whole = sum(EPOCHS * EPOCH * level["seconds"] / level["steps"] for level in ordered) / 60
    return [
        *found,
        row(TIMED, over(seconds), note=note),
        row(FULL, [whole], "min", target="<= 30", note=f"{note}; taken to {EPOCHS * EPOCH:,} steps a level"),
    ]
