"""Vectors of many float32, a type of kernels' own: LLVM divides them into the registers of the machine.

Sums in them stay in registers, where numba's loops over arrays would check at every loop whether arrays overlap.
"""

# ruff: noqa: ARG001 - numba asks for the names of what an intrinsic takes

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from oneticket.ground import vectors
from oneticket.ground.vectors import FLOAT, INDEX

SIDE = 16  # of the squares that are turned round


def _emitted(make: Callable[..., Any]) -> Any:
    """A function of kernels that is written in LLVM's words."""
    return intrinsic(prefer_literal=True)(make)


class Numbers(types.Type):
    """The type of a vector of so many float32."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Numbers({count})")


@register_model(Numbers)
class _NumbersModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Numbers) -> None:
        super().__init__(manager, kind, ir.VectorType(FLOAT, kind.count))  # type: ignore[no-untyped-call]


@_emitted
def zeros(_: Any, count: Any) -> Any:
    """A vector of so many zeros; the kernels below take one to know how long their vectors are."""
    kind = Numbers(count.literal_value)
    return kind(count), lambda context, *_: context.get_constant_null(kind)


@_emitted
def filled(_: Any, like: Numbers, number: Any) -> Any:
    """A vector of that number."""

    def code(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return vectors.filled(builder, given[1], like.count)

    return like(like, types.float32), code


@_emitted
def load(_: Any, like: Numbers, array: Any, at: Any) -> Any:
    """array[at : at + count]."""

    def code(context: Any, builder: Any, _: Any, given: Any) -> Any:
        return builder.load(_place(context, builder, array, given[1], given[2], like.count), align=4)

    return like(like, array, types.intp), code


@_emitted
def store(_: Any, numbers: Numbers, array: Any, at: Any) -> Any:
    """array[at : at + count] = numbers."""

    def code(context: Any, builder: Any, _: Any, given: Any) -> Any:
        builder.store(given[0], _place(context, builder, array, given[1], given[2], numbers.count), align=4)
        return context.get_dummy_value()

    return types.void(numbers, array, types.intp), code


@_emitted
def add(_: Any, numbers: Numbers, factor: Any, others: Any) -> Any:
    """numbers + factor * others."""

    def code(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return _multiply_add(builder, vectors.filled(builder, given[1], numbers.count), given[2], given[0])

    return numbers(numbers, types.float32, numbers), code


@_emitted
def dot(_: Any, numbers: Numbers, others: Any) -> Any:
    """The sum of numbers * others, by way of vectors of 16."""

    def code(_: Any, builder: Any, __: Any, given: Any) -> Any:
        parts = [[*range(at, at + SIDE)] for at in range(0, numbers.count, SIDE)]
        pairs = [[vectors.picked(builder, each, each, part) for each in given] for part in parts]
        sums = [builder.fmul(one, other) for one, other in pairs[:2]]
        for at, (one, other) in enumerate(pairs[2:]):
            sums[at % 2] = _multiply_add(builder, one, other, sums[at % 2])
        total = builder.fadd(*sums) if len(sums) > 1 else sums[0]
        kind = ir.FunctionType(FLOAT, [FLOAT, total.type])
        reduce = _declared(builder, kind, f"llvm.vector.reduce.fadd.v{SIDE}f32")
        return builder.call(reduce, [FLOAT(-0.0), total], fastmath=("reassoc",))

    return types.float32(numbers, numbers), code


@_emitted
def turn(
    _: Any, source: Any, at: Any, step: Any, rows: Any, columns: Any, target: Any, to: Any, stride: Any, past: Any
) -> Any:
    """target[to + stride * j + i] = source[at + step * i + j] for i < rows, j < columns; of both 16 at most.

    `past`: write whole rows past the cache. They must begin at multiples of 64 bytes.
    """

    def code(context: Any, builder: Any, _: Any, given: Any) -> Any:
        source_, at_, step_, rows_, columns_, target_, to_, stride_, past_ = given

        def square(high: Any, wide: Any, write: Callable[[Any, Any, Any], None]) -> None:
            read = []
            for i in range(SIDE):
                pointer = _place(context, builder, source, source_, _step(builder, at_, step_, i, high), SIDE)
                read.append(_load(builder, pointer, _first(builder, wide, high, i)))
            for j, row in enumerate(vectors.turned(builder, read)):
                pointer = _place(context, builder, target, target_, _step(builder, to_, stride_, j, wide), SIDE)
                write(row, pointer, _first(builder, high, wide, j))

        def keep(row: Any, pointer: Any, mask: Any) -> None:
            _store(builder, row, pointer, mask)

        def stream(row: Any, pointer: Any, _: Any) -> None:
            written = builder.store(row, pointer, align=4 * SIDE)
            written.set_metadata("nontemporal", builder.module.add_metadata([INDEX(1)]))

        whole = builder.and_(*(builder.icmp_signed(">=", each, each.type(SIDE)) for each in (rows_, columns_)))
        with builder.if_else(whole) as (then, otherwise):
            with then, builder.if_else(past_) as (yes, no):
                with yes:
                    square(None, None, stream)
                with no:
                    square(None, None, keep)
            with otherwise:
                square(rows_, columns_, keep)
        return context.get_dummy_value()

    five = (types.intp,) * 5
    return types.void(source, *five[:4], target, *five[:2], types.boolean), code


def _step(builder: Any, at: Any, step: Any, count: int, limit: Any) -> Any:
    """So many steps on, or `at` itself if that is at the limit: even an empty mask is slow where memory ends."""
    steps = step.type(count)
    if limit is not None:
        steps = builder.select(builder.icmp_signed("<", steps, limit), steps, step.type(0))
    return builder.add(at, builder.mul(step, steps))


def _declared(builder: Any, kind: Any, name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, count: int) -> Any:
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(pointer, ir.VectorType(FLOAT, count).as_pointer())


def _multiply_add(builder: Any, one: Any, other: Any, more: Any) -> Any:
    vector = more.type
    kind = ir.FunctionType(vector, [vector] * 3)
    called = _declared(builder, kind, f"llvm.fmuladd.v{vector.count}f32")
    return builder.call(called, [one, other, more])


def _first(builder: Any, count: Any, limit: Any, at: int) -> Any:
    """Which numbers of a vector are meant: the first `count`, if `at` is below `limit`; None for all."""
    if count is None:
        return None
    few = builder.select(builder.icmp_signed("<", limit.type(at), limit), count, count.type(0))
    places = ir.Constant(ir.VectorType(INDEX, SIDE), [*range(SIDE)])
    return builder.icmp_signed("<", places, vectors.filled(builder, builder.trunc(few, INDEX), SIDE))


def _load(builder: Any, pointer: Any, mask: Any) -> Any:
    if mask is None:
        return builder.load(pointer, align=4)
    vector = pointer.type.pointee
    kind = ir.FunctionType(vector, [pointer.type, INDEX, mask.type, vector])
    called = _declared(builder, kind, f"llvm.masked.load.v{SIDE}f32.p0")
    return builder.call(called, [pointer, INDEX(4), mask, ir.Constant(vector, [0.0] * SIDE)])


def _store(builder: Any, numbers: Any, pointer: Any, mask: Any) -> None:
    if mask is None:
        builder.store(numbers, pointer, align=4)
        return
    kind = ir.FunctionType(ir.VoidType(), [numbers.type, pointer.type, INDEX, mask.type])
    called = _declared(builder, kind, f"llvm.masked.store.v{SIDE}f32.p0")
    builder.call(called, [numbers, pointer, INDEX(4), mask])
