"""A store with 10,000 outcomes: its list, its check, how far a study is; whole processes beside `import torch`."""

from __future__ import annotations

import os
import tempfile
from unittest.mock import patch

import torch

from benchmarks.process import in_turn, over_torch, spent
from benchmarks.row import Row
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store

OUTCOMES, ROUNDS = 10_000, 3
TARGETS = {"ls": "<= 1", "verify": "<= 2", "status": "<= 1.5"}


def rows(rounds: int = ROUNDS, outcomes: int = OUTCOMES) -> list[Row]:
    """The index is there, as any listing leaves it; the study has no outcome there, and its sets were read before."""
    with tempfile.TemporaryDirectory() as folder:
        url, cache = f"{folder}/store", f"{folder}/cache"
        with patch.object(os, "fsync"):  # a store for these minutes need not outlive a power failure
            fill(url, outcomes)
        asked = {"ls": ("store", "ls"), "verify": ("store", "verify"), "status": ("status", "digits")}
        sides = {
            name: lambda words=words: spent(["-m", "oneticket", *words, "--store", url], cache=cache)
            for name, words in asked.items()
        }
        found = in_turn(sides, rounds)
    said = {name: " ".join(words) for name, words in asked.items()}
    what = f"a store with {outcomes:,} outcomes: oneticket"
    return [over_torch(f"{what} {said[name]}", found, name, target) for name, target in TARGETS.items()]


def fill(url: str, outcomes: int) -> None:
    """Outcomes as small as those of transfers: a record, and losses of a few steps."""
    store, losses = Store(url), torch.linspace(2, 1, 50)
    for begin in range(0, outcomes, 500):
        steps = [
            Step(kind="transfer", args={"seed": seed, "data_digest": f"{seed:064x}"})
            for seed in range(begin, min(begin + 500, outcomes))
        ]
        store.define(*steps)
        for step in steps:
            record = {"metric": "accuracy", "score": 0.9, "unit": "share", "better": "higher", "steps": 50}
            store.put(step, Outcome(record=record, tensors={"losses": losses}), seconds=1.0, device="cpu")
