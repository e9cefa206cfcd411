"""A study killed at any moment goes on to the same bits."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from oneticket.lottery.place import Place
from oneticket.lottery.spec import SearchSpec
from oneticket.study.plan import closure, search_steps
from oneticket.study.run import run
from oneticket.study.step import Step
from oneticket.study.store import Store

KILLS = 20
SPEC = SearchSpec(
    data={"name": "digits:a", "crop": 1},
    model={"name": "resnet-20", "width": 0.25},
    optimizer={"name": "sgd", "schedule": "cosine"},
    training={"budget": "25it", "batch": 32},
    rewind="5it",
)


def steps() -> list[Step]:
    return [step for replicate in range(2) for step in search_steps(SPEC, levels=3, replicate=replicate)]


def work(root: Path) -> None:
    """What the killed process does: the plan, with a checkpoint after every step."""
    torch.set_num_threads(1)
    run(steps(), store=Store(root), place=Place(every=0))


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["oneticket.study.run", "sklearn.datasets"])
    moments = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        process = context.Process(target=work, args=(tmp_path / "killed",))
        process.start()
        time.sleep(moments.uniform(0.3, 1.2))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            killed += 1
        process.join()
        process.close()
    assert killed >= KILLS // 2, "the plan was over too soon for the kills to mean anything"
    work(tmp_path / "killed")
    work(tmp_path / "straight")
    for step in closure(steps()):
        one, other = Store(tmp_path / "straight").get(step), Store(tmp_path / "killed").get(step)
        assert one.record == other.record
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
