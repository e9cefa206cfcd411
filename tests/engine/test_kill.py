"""A study killed at any moment goes on to the same bits."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path

import pytest
import torch
from forked import CONTEXT
from waiting import until

from oneticket.engine.inline import run
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.plan import closure
from oneticket.training.loop import Run

PLACE = RunContext()
KILLS = 20
SPEC = SearchSpec(
    data={"name": "digits:a", "crop": 1},
    model={"name": "resnet-20", "width": 0.25},
    optimizer={"name": "sgd", "schedule": "cosine"},
    training={"budget": "40it", "batch": 32},
    rewind="5it",
)


def steps() -> list[Step]:
    return [
        step
        for replicate in range(2)
        for step in search_origin(SPEC, levels=4, replicate=replicate, context=PLACE).levels
    ]


def work(root: Path, resumed: Path, life: int | None = None) -> None:
    """The plan, with a checkpoint after every step; it writes down where it resumes.

    With a `life` the process dies that many training steps after one that left something on the disk. A thread kills
    it, so that any moment until the end of the next step can be the last; no further step is begun.
    """
    torch.set_num_threads(1)
    seen: list[int] = []
    lived: list[int] = []
    dying, before = threading.Event(), progress(root)

    def note(run: Run) -> None:
        if id(run) not in seen:
            seen.append(id(run))
            if run.position not in (1, 6):  # the first step of the rewind weights, and of any level
                with resumed.open("a") as file:
                    file.write(f"{run.position}\n")

    def live(run: Run) -> None:
        if not lived:
            until(lambda: progress(root) != before, "a checkpoint")
        lived.append(run.position)
        if len(lived) == life:
            dying.set()
        elif len(lived) > (life or 0):
            threading.Event().wait()

    if life is not None:
        threading.Thread(target=lambda: dying.wait() and os.kill(os.getpid(), signal.SIGKILL), daemon=True).start()
    watchers = (note,) if life is None else (note, live)
    run(steps(), store=Store(root), context=RunContext(every=0, watchers=watchers))


def progress(root: Path) -> set[tuple[str, int]]:
    """What changes whenever a checkpoint or an outcome is written."""
    seen = set()
    for file in root.rglob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            seen.add((file.name, file.stat().st_mtime_ns))
    return seen


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    lives = random.Random(0)
    for _ in range(KILLS):
        arguments = (tmp_path / "killed", tmp_path / "resumed", lives.randint(1, 8))
        process = CONTEXT.Process(target=work, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the plan was over too soon for the kills to mean anything"
        process.close()
    work(tmp_path / "killed", tmp_path / "resumed")
    assert len((tmp_path / "resumed").read_text().split()) >= 5, "runs must go on from checkpoints, not begin again"
    work(tmp_path / "straight", tmp_path / "never")
    assert not (tmp_path / "never").exists()
    for step in closure(steps()):
        one, other = Store(tmp_path / "straight").get(step), Store(tmp_path / "killed").get(step)
        assert one.record == other.record
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
