"""The mark of a file in a store: what a listing says of it, by which its content is told from any other."""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """What tells a file's content from any other that it had: its size, and a proof that changes when it does.

    `proof` is empty where the place gives none. `when`: the moment of the last change in nanoseconds by the
    place's own clock, where the proof depends on it; 0 where it does not. Two changes within its tick look like one.
    """

    size: int
    proof: str = ""
    when: int = 0
