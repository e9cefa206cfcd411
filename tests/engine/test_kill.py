"""A study killed at any moment goes on to the same bits."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from oneticket.engine.inline import run
from oneticket.lottery.place import Place
from oneticket.lottery.spec import SearchSpec
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.plan import closure, search_origin
from oneticket.training.loop import Run

PLACE = Place()
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
        for step in search_origin(SPEC, levels=4, replicate=replicate, place=PLACE).levels
    ]


def work(root: Path, resumed: Path) -> None:
    """What the killed process does: the plan, with a checkpoint after every step; it writes down where it resumes."""
    torch.set_num_threads(1)
    seen: list[int] = []

    def note(run: Run) -> None:
        if id(run) not in seen:
            seen.append(id(run))
            if run.position not in (1, 6):  # the first step of the rewind weights, and of any level
                with resumed.open("a") as file:
                    file.write(f"{run.position}\n")

    run(steps(), store=Store(root), place=Place(every=0, watchers=(note,)))


def progress(root: Path) -> set[tuple[str, int]]:
    """What changes whenever a checkpoint or an outcome is written."""
    seen = set()
    for file in root.rglob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            seen.add((file.name, file.stat().st_mtime_ns))
    return seen


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["oneticket.engine.inline", "sklearn.datasets"])
    moments = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        before = progress(tmp_path / "killed")
        process = context.Process(target=work, args=(tmp_path / "killed", tmp_path / "resumed"))
        process.start()
        while process.is_alive() and progress(tmp_path / "killed") == before:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.4))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            killed += 1
        process.join()
        process.close()
    assert killed == KILLS, "the plan was over too soon for the kills to mean anything"
    work(tmp_path / "killed", tmp_path / "resumed")
    assert len((tmp_path / "resumed").read_text().split()) >= 5, "runs must go on from checkpoints, not begin again"
    work(tmp_path / "straight", tmp_path / "never")
    assert not (tmp_path / "never").exists()
    for step in closure(steps()):
        one, other = Store(tmp_path / "straight").get(step), Store(tmp_path / "killed").get(step)
        assert one.record == other.record
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
