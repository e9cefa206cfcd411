"""The memory that sparse layers use again: what is lent is lent once, to however many threads."""

from __future__ import annotations

import sys
import tracemalloc
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


def test_ever_new_sizes_do_not_add_up() -> None:
    room = Room()
    tracemalloc.start()
    try:
        for size in range(1 << 16, 1 << 17, 1 << 10):
            room.take((size,))
        assert tracemalloc.get_traced_memory()[0] < 6 * 4 * (1 << 17)
    finally:
        tracemalloc.stop()
