"""The mark of a file in a store: the facts in a listing that identify its content."""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """Identifies a file's content: its size, and a proof that changes with the content.

    `proof` is empty where the place gives none. `when`: the moment of the last change in nanoseconds by the place's own
    clock, if the proof depends on it; else 0. Two changes within one tick of that clock look like one.
    """

    size: int
    proof: str = ""
    when: int = 0
