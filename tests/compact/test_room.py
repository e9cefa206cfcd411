"""The memory that sparse layers use again: what is lent is lent once, to however many threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from oneticket.compact.room import SMALLEST, Room


@pytest.fixture(autouse=True)
def _eager() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_are_lent_different_memory() -> None:
    room = Room()

    def work(mark: int) -> bool:
        fine = True
        for _ in range(1500):
            held = room.take((SMALLEST,)).fill_(mark)
            fine &= bool(held[0] == mark) and bool(held[-1] == mark)
            del held  # its memory goes to whoever asks next
        return fine

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))
