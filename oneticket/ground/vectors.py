"""Vectors in LLVM's words, which the intrinsics of several rooms' kernels are made of.

`builder`: llvmlite's; what is passed and returned are values of LLVM. A kernel that uses them is dated by this file too
(`compiled`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

FLOAT, INDEX = ir.FloatType(), ir.IntType(32)


def picked(builder: Any, one: Any, other: Any, places: Sequence[int]) -> Any:
    """Of two vectors, numbered one after the other, the numbers at those places."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(INDEX, len(places)), [*places]))


def filled(builder: Any, number: Any, count: int) -> Any:
    """A vector of so many times that number."""
    none = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    return picked(builder, builder.insert_element(none, number, INDEX(0)), none, [0] * count)


def turned(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """A square of vectors, transposed: in each round, two rows exchange every second block of `size` numbers."""
    size, rows = 1, [*rows]
    count = len(rows)
    while size < count:
        low = [at if not at & size else count + at - size for at in range(count)]
        high = [at + size if not at & size else count + at for at in range(count)]
        for at in (at for at in range(count) if not at & size):
            one, other = rows[at], rows[at + size]
            rows[at], rows[at + size] = picked(builder, one, other, low), picked(builder, one, other, high)
        size *= 2
    return rows
