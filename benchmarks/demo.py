"""The demo, whole: two searches, their transfers and the report, in an empty folder with an empty cache."""

from __future__ import annotations

import tempfile

from benchmarks.process import Spent, spent
from benchmarks.row import Row, row
from oneticket.ground.threads import cores

ROUNDS = 3


def once() -> Spent:
    """One run, on all cores that there are."""
    with tempfile.TemporaryDirectory() as folder:
        return spent(["-m", "oneticket", "demo"], cache=f"{folder}/cache", folder=folder, threads=None)


def rows(rounds: int = ROUNDS) -> list[Row]:
    """Wall seconds, since a person waits for it, and workers are nobody's to count."""
    note = f"wall time, {cores()} cores"
    return [row("make demo, after set-up", [once().wall for _ in range(rounds)], "s", target="<= 60", note=note)]
