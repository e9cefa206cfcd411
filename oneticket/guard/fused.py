"""One pass over memory instead of several: numba kernels that zero a tensor by its pattern and check some places.

They take addresses, in a third of the time that arrays take. `size`: the bytes of an entry: 2, 4 or 8; numbers are
read as integers. Numba takes half a second to import, so only `zero.hasten` imports this file.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from oneticket.ground.compiled import compiled


def _pointer(word: Any) -> Any:
    """From an address to a pointer at such words."""

    @intrinsic
    def to(typingctx: Any, address: Any) -> Any:  # noqa: ARG001 - numba asks for these two
        kind: Any = types.CPointer(word)  # type: ignore[no-untyped-call]

        def code(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(kind))

        return kind(types.intp), code

    return to


_int8, _int16, _int32, _int64 = map(_pointer, (types.int8, types.int16, types.int32, types.int64))


@compiled()
def gate(tensor: int, keep: int, count: int, size: int) -> None:
    """Zero `count` entries at the address `tensor` where the bytes at `keep`, 0 and -1, are 0."""
    pattern = carray(_int8(keep), count)
    if size == 4:
        four = carray(_int32(tensor), count)
        for i in range(count):
            four[i] &= pattern[i]
    elif size == 2:
        two = carray(_int16(tensor), count)
        for i in range(count):
            two[i] &= pattern[i]
    else:
        eight = carray(_int64(tensor), count)
        for i in range(count):
            eight[i] &= pattern[i]


@compiled()
def written(tensor: int, places: int, count: int, size: int) -> bool:
    """Whether an entry is not +0.0 at any of `count` places, int64 at that address."""
    at = carray(_int64(places), count)
    found = types.int64(0)
    for i in range(count):
        if size == 4:
            found |= carray(_int32(tensor), at[i] + 1)[at[i]]
        elif size == 2:
            found |= carray(_int16(tensor), at[i] + 1)[at[i]]
        else:
            found |= carray(_int64(tensor), at[i] + 1)[at[i]]
    return bool(found != 0)


@compiled()
def any_written(table: int, rows: int) -> bool:
    """`written` for each row of a table of int64 at that address: tensor, places, count, size."""
    entries = carray(_int64(table), 4 * rows)
    for i in range(0, 4 * rows, 4):  # noqa: SIM110 - numba has no generators in any
        if written(entries[i], entries[i + 1], entries[i + 2], entries[i + 3]):
            return True
    return False
