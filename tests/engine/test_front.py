"""The front: what can be begun, in which order, and how steps end up in their piles."""

from __future__ import annotations

import pytest

from oneticket.engine.scheduler import Front
from oneticket.ground.errors import TrainingError
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store


def step(number: int, *needs: Step) -> Step:
    return Step(kind="level", args={"number": number}, needs=needs)


ROOT = step(0)
LONG = [first := step(1, ROOT), second := step(2, ROOT, first), step(3, ROOT, second)]
SHORT = [step(4), step(5)]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_all_needs_come_first_and_long_rows_before_short_ones(store) -> None:
    for longest_first, order in ((False, [4, 5, 0, 1, 2, 3]), (True, [0, 1, 2, 4, 5, 3])):
        front, taken = Front([*SHORT, *LONG], store=store, longest_first=longest_first), []
        assert (front.left, front.ready, front.wide) == (6, 3, 6 / 4)
        while front.left:
            taken.append(front.take())
            front.end(taken[-1], "done")
        assert [each.args["number"] for each in taken] == order
        assert front.take() is None
        assert front.piles().done == tuple(taken)


def test_a_step_waits_for_all_that_it_needs(store) -> None:
    front = Front([step(9, *SHORT)], store=store)
    one, two = front.take(), front.take()
    assert {one, two} == set(SHORT)
    assert front.take() is None
    front.end(one, "done")
    assert front.take() is None
    front.end(two, "reused")
    assert front.take().args == {"number": 9}


def test_what_is_there_is_reused_and_what_failed_takes_along_what_waits_for_it(store) -> None:
    store.put(ROOT, Outcome(record={}, tensors={}), seconds=0, device="cpu")
    heard: list[tuple[int, str]] = []
    front = Front([*LONG, *SHORT], store=store, observe=lambda step, event: heard.append((step.args["number"], event)))
    assert front.left == 5
    front.fail(front.take(), TrainingError("no"))
    assert heard == [(0, "reused"), (1, "begun"), (1, "failed"), (2, "not run"), (3, "not run")]
    assert front.ready == 2
    for said in ("lost", "done", "drifted"):
        front.end(front.take(), said)
    assert heard[5:] == [
        (4, "begun"),
        (4, "lost"),
        (4, "begun"),
        (4, "done"),
        (5, "begun"),
        (5, "drifted"),
        (5, "done"),
    ]
    piles = front.piles()
    assert ([s.args["number"] for s in piles.done], len(piles.reused), len(piles.not_run)) == ([4, 5], 1, 2)
    assert [(s.args["number"], str(error)) for s, error in piles.failed] == [(1, "no")]


def test_what_others_are_at_is_put_off_and_looked_at_again(store, monkeypatch) -> None:
    monkeypatch.setattr("oneticket.engine.scheduler.PAUSE", 0.0)
    heard: list[str] = []
    front = Front(SHORT[:1], store=store, observe=lambda step, event: heard.append(event))
    for said in ("elsewhere", "elsewhere", "reused"):
        assert front.left == 1
        front.end(front.take(), said)
    assert heard == ["begun", "elsewhere", "reused"]
    assert front.piles().reused == (SHORT[0],)
