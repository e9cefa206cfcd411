"""The laws of claims: one alone is at a step, whoever dies is replaced, and no write is ever seen in part."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from forked import CONTEXT
from stores import LEVEL, STEP, put, search
from waiting import until

from oneticket.engine.inline import run
from oneticket.lottery.run_context import RunContext
from oneticket.store import names
from oneticket.store.claim import Claims
from oneticket.store.files import FolderFiles
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.plan import closure


def start(work: Callable[[str, Connection], None], url: str) -> tuple[ForkServerProcess, Connection]:
    """Another process, which does that work on that store in the environment of this one, and a line to it."""
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=begin, args=(dict(os.environ), work, url, there))
    process.start()
    return process, here


def begin(environment: dict[str, str], work: Callable[[str, Connection], None], url: str, line: Connection) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    work(url, line)


def test_one_alone_is_at_a_step(url: str) -> None:
    one, other = Store(url), Store(url)
    assert one.holder(STEP) is None
    with one.claim(STEP) as mine:
        assert mine is not None
        with other.claim(STEP) as none, other.claim(LEVEL) as another:
            assert none is None
            assert another is not None
            assert other.holder(STEP) == other.claims.holders()[STEP.key]
            assert str(other.holder(STEP)).endswith(f", process {os.getpid()}")
            assert other.claims.active() == {STEP.key, LEVEL.key}
    assert not mine.lost
    assert (other.holder(STEP), other.claims.holders()) == (None, {})
    with other.claim(STEP) as now:
        assert now is not None
    assert not one.files.sizes(names.UNDER_WAY)


def test_a_claim_ends_with_its_block_whatever_happens(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.claim(STEP):
        raise KeyboardInterrupt
    assert not store.files.sizes()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("claim")]


def ago(claims: Claims, seconds: float) -> None:
    """All that was seen of others was seen so long ago."""
    claims._seen = {name: (content, since - seconds) for name, (content, since) in claims._seen.items()}


def test_a_claim_lives_as_long_as_it_beats(url: str) -> None:
    one, other = Store(url), Store(url)
    one.claims.beat = other.claims.patience = 10_000
    with one.claim(STEP) as mine:
        assert mine is not None
        with other.claim(STEP) as first:
            assert first is None
        ago(other.claims, 11_000)
        mine.beat()
        with other.claim(STEP) as second:
            assert second is None, "it was seen to change"
        ago(other.claims, 11_000)
        with other.claim(STEP) as third:
            assert third is not None, "it was not seen to change for longer than the patience"
            mine.beat()
            assert mine.lost
            assert third.still()
    assert mine.lost
    assert not one.files.sizes(names.UNDER_WAY)


def test_a_holder_beats_by_itself(tmp_path: Path) -> None:
    store, name, seen = Store(tmp_path), names.name(STEP.key, names.CLAIM), set[bytes]()
    store.claims.beat = 0.01
    with store.claim(STEP):
        until(lambda: seen.add(store.files.read([name])[name]) or len(seen) > 2, "three beats")


def hold_forever(url: str, ready: Connection) -> None:
    with Store(url).claim(STEP) as claim:
        assert claim is not None
        ready.send(str(Store(url).holder(STEP)))
        threading.Event().wait()


def killed_holder(url: str) -> str:
    """Who held the step and was killed; nothing is left of it but its claim."""
    process, here = start(hold_forever, url)
    said = str(here.recv())
    process.kill()
    process.join()
    return said


def test_what_a_killed_process_held_is_taken_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert ", process " in killed_holder(store.url)
    assert list(store.files.sizes()) == [names.name(STEP.key, names.CLAIM)]
    assert (store.holder(STEP), store.claims.active()) == (None, set())
    with store.claim(STEP) as claim:
        assert claim is not None
    assert not store.files.sizes()


def test_what_another_machine_held_is_taken_when_it_is_silent(url: str) -> None:
    store, name = Store(url), names.name(STEP.key, names.CLAIM)
    for silent in (b'{"host":"far","machine":"far","pid":1,"owner":"far","beat":7}', b"", b"[1", b"[]"):
        store.files.write({name: silent})
        store.claims.patience = 1000
        with store.claim(STEP) as claim:
            assert claim is None
        store.claims.patience = 0.0
        assert store.claims.active() == set()
        with store.claim(STEP) as claim:
            assert claim is not None


class Far(FolderFiles):
    """The files of a store on which somebody far away beats whenever they are looked at."""

    def far(self, step: Step, beat: int) -> None:
        said = f'{{"host":"far","machine":"far","pid":1,"owner":"far","beat":{beat}}}'
        self.write({names.name(step.key, names.CLAIM): said.encode()})

    def sizes(self, under: str = "") -> dict[str, int]:
        self.far(BEATING, next(BEATS))
        return super().sizes(under)


BEATS = itertools.count()
SILENT, BEATING = (Step(kind="rewind", args={"seed": number}) for number in (2, 3))


def test_who_is_surely_there(tmp_path: Path) -> None:
    killed_holder(str(tmp_path))
    store, here = Store(tmp_path), Step(kind="rewind", args={"seed": 1})
    store.claims.files = far = Far(store.url)
    store.claims.patience = 1.0
    far.far(SILENT, 0)
    with store.claim(here):
        assert store.claims.holders().keys() == {here.key, SILENT.key, BEATING.key}
        assert store.claims.active() == {here.key, BEATING.key}


def test_of_many_heirs_one_inherits(tmp_path: Path) -> None:
    killed_holder(str(tmp_path))
    name = names.name(STEP.key, names.CLAIM)
    dead = Store(tmp_path).files.read([name])
    for _ in range(20):
        Store(tmp_path).files.write(dead)
        got: list[bool] = []
        barrier = threading.Barrier(6)

        def inherit(barrier: threading.Barrier = barrier, got: list[bool] = got) -> None:
            store = Store(tmp_path)
            barrier.wait()
            with store.claim(STEP) as claim:
                got.append(claim is not None)
                barrier.wait()

        threads = [threading.Thread(target=inherit) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(got) == 1


def test_an_heir_that_died_is_no_obstacle(tmp_path: Path) -> None:
    killed_holder(str(tmp_path))
    store, claim = Store(tmp_path), names.name(STEP.key, names.CLAIM)
    store.files.write({names.name(STEP.key, names.HEIR): store.files.read([claim])[claim]})
    with store.claim(STEP) as first:
        assert first is None
    with store.claim(STEP) as second:
        assert second is not None


def work_along(url: str, said: Connection) -> None:
    steps = search(levels=2, replicates=2)
    said.send("ready")
    said.recv()
    piles = run(steps, store=Store(url), context=RunContext())
    assert not piles.failed and not piles.not_run
    said.send([step.key for step in piles.done])


def two_processes_share(url: str) -> None:
    """Let two processes run the same plan at the same time: each step is done, and by one of them."""
    both = [start(work_along, url) for _ in range(2)]
    for _, here in both:
        assert here.recv() == "ready"
    for _, here in both:
        here.send("go")
    done = [key for _, here in both for key in here.recv()]
    for process, _ in both:
        process.join()
    store, steps = Store(url), closure(search(levels=2, replicates=2))
    assert sorted(done) == sorted(step.key for step in steps)
    assert store.keys() == set(done)
    assert store.drifts() == {}
    assert not store.files.sizes(names.UNDER_WAY)
    assert all(store.step(step.key) == step for step in steps)


@pytest.mark.slow
def test_two_processes_do_each_step_once(tmp_path: Path) -> None:
    two_processes_share(str(tmp_path))


def write_forever(url: str, ready: Connection) -> None:
    store = Store(url)
    for letter in "abcdefghij" * 1000:
        store.slot(STEP).write(letter.encode() * 3_000_000)
        if letter == "c":
            ready.send("writing")


def kill_while_writing(url: str) -> None:
    """Kill a process at some moment of writing again and again: what is read after is one write's, and whole."""
    store = Store(url)
    for pause in (0.0, 0.007, 0.023):
        process, here = start(write_forever, url)
        here.recv()
        threading.Event().wait(pause)  # a moment like any other
        process.kill()
        process.join()
        data = store.slot(STEP).read()
        assert data is not None
        assert data == data[:1] * 3_000_000


@pytest.mark.slow
def test_a_torn_write_is_never_seen_and_cleared_away(tmp_path: Path) -> None:
    kill_while_writing(str(tmp_path))
    store = Store(tmp_path)
    put(store)
    assert list(store.files.sizes(names.UNDER_WAY)) == []
