"""Convolutions with remaining weights only, by numba kernels (long: the kernels, and the vectors they are written in).

Images are taken some at a time, a tile, and laid out as (H, C, W, B): rows of pixels, of each pixel the B images side
by side, with zeros around them. A weight that joins input channel c to output channel o at kernel place (i, j) then
adds, for every row of the output, its multiple of one contiguous run of numbers. So a convolution is a sparse matrix
times shifted rows, without unfolding. `windows` finds where runs begin: `offset`. Rows are laid out just before they
are read, and sums go back into images (N, H, W, C) at once, so that all of it happens in the second cache. The sums of
`LONG` numbers of one output channel are in registers while its weights are gone through: the kernels compute with
vectors of many numbers, a type of their own, which LLVM divides into the registers of the machine.

Entries are gone through block by block of what they read, so that it stays in the first cache. What is written goes
past the caches, which whole activations exceed anyway.

Measured on one core (AMD EPYC with AVX-512, batch 128, 10 %), a layer forward and backward in turn with the dense one,
CPU ms, medians, 16 channels of 32 x 32 / 32 of 16 x 16 / 64 of 8 x 8 / 256 of 8 x 8: dense 16.1 / 9.0 / 7.6 / 107;
sparse 4.8 / 3.3 / 2.7 / 31. Runs that do not begin at multiples of 64 bytes take 1.2 to 1.6 times as long, so `laid`
must. Of the narrow ones most of the rest is memory: 16 channels at 0.01 % took 2.5 of the 4.0 ms of 10 %.
"""

# ruff: noqa: ARG001 - numba asks for the names of what an intrinsic takes

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from oneticket.ground.compiled import SUMS, compiled

Array = np.ndarray[Any, Any]
SIDE = 16  # of the squares that are turned round
LONG, MIDDLE, SHORT = 8 * SIDE, 4 * SIDE, SIDE  # numbers of a run whose sums are in registers at once
ROW = LONG + SIDE  # so that rows of sums are no multiple of 4096 bytes apart
FLOAT, INT = ir.FloatType(), ir.IntType(32)


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
        return _filled(builder, ir.VectorType(FLOAT, like.count), given[1])

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
        return _multiply_add(builder, _filled(builder, given[0].type, given[1]), given[2], given[0])

    return numbers(numbers, types.float32, numbers), code


@_emitted
def dot(_: Any, numbers: Numbers, others: Any) -> Any:
    """The sum of numbers * others, by way of vectors of 16."""

    def code(_: Any, builder: Any, __: Any, given: Any) -> Any:
        parts = [[*range(at, at + SIDE)] for at in range(0, numbers.count, SIDE)]
        pairs = [[_picked(builder, each, each, part) for each in given] for part in parts]
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
            for j, row in enumerate(_turned(builder, read)):
                pointer = _place(context, builder, target, target_, _step(builder, to_, stride_, j, wide), SIDE)
                write(row, pointer, _first(builder, high, wide, j))

        def keep(row: Any, pointer: Any, mask: Any) -> None:
            _store(builder, row, pointer, mask)

        def stream(row: Any, pointer: Any, _: Any) -> None:
            written = builder.store(row, pointer, align=4 * SIDE)
            written.set_metadata("nontemporal", builder.module.add_metadata([INT(1)]))

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


def _picked(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    """Of two vectors, numbered one after the other, the numbers at those places."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(INT, len(places)), places))


def _filled(builder: Any, vector: Any, number: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, INT(0))
    return _picked(builder, one, one, [0] * vector.count)


def _multiply_add(builder: Any, one: Any, other: Any, more: Any) -> Any:
    vector = more.type
    kind = ir.FunctionType(vector, [vector] * 3)
    called = _declared(builder, kind, f"llvm.fmuladd.v{vector.count}f32")
    return builder.call(called, [one, other, more])


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """A square of vectors, transposed: in each round, two rows exchange every second block of `size` numbers."""
    size, count = 1, len(rows)
    while size < count:
        low = [at if not at & size else count + at - size for at in range(count)]
        high = [at + size if not at & size else count + at for at in range(count)]
        pairs = [(rows[at], rows[at + size]) for at in range(count) if not at & size]
        places = [at for at in range(count) if not at & size]
        for at, (one, other) in zip(places, pairs, strict=True):
            rows[at], rows[at + size] = _picked(builder, one, other, low), _picked(builder, one, other, high)
        size *= 2
    return rows


def _first(builder: Any, count: Any, limit: Any, at: int) -> Any:
    """Which numbers of a vector are meant: the first `count`, if `at` is below `limit`; None for all."""
    if count is None:
        return None
    few = builder.select(builder.icmp_signed("<", limit.type(at), limit), count, count.type(0))
    kind = ir.VectorType(INT, SIDE)
    return builder.icmp_signed("<", ir.Constant(kind, [*range(SIDE)]), _filled(builder, kind, builder.trunc(few, INT)))


def _load(builder: Any, pointer: Any, mask: Any) -> Any:
    if mask is None:
        return builder.load(pointer, align=4)
    vector = pointer.type.pointee
    kind = ir.FunctionType(vector, [pointer.type, INT, mask.type, vector])
    called = _declared(builder, kind, f"llvm.masked.load.v{SIDE}f32.p0")
    return builder.call(called, [pointer, INT(4), mask, ir.Constant(vector, [0.0] * SIDE)])


def _store(builder: Any, numbers: Any, pointer: Any, mask: Any) -> None:
    if mask is None:
        builder.store(numbers, pointer, align=4)
        return
    kind = ir.FunctionType(ir.VoidType(), [numbers.type, pointer.type, INT, mask.type])
    called = _declared(builder, kind, f"llvm.masked.store.v{SIDE}f32.p0")
    builder.call(called, [numbers, pointer, INT(4), mask])


@compiled(fastmath=SUMS)
def convolve(
    begins: Array,
    offset: Array,
    value: Array,
    bias: Array,
    images: Array,
    read: tuple[int, ...],
    column: Array,
    laid: Array,
    out: Array,
    written: tuple[int, ...],
) -> None:
    """For every row and run p of pixels of output channel o: bias[o] + sum over k of value[k] laid[offset[k] + p].

    `begins`: (blocks + 1, O), the first entry of o in each block; the last row is its end. `images`: (N, H, W, C);
    `read`: images of a tile, pixels of a laid row, laid rows above the images, rows that an output row reads, and rows
    to the next output row; `column`: where each pixel goes in a laid row, negative for nowhere; `laid`: flat, of some
    laid rows. `out`: flat; `written`: rows and pixels a row, where the first pixel is, and how far apart are images,
    rows and pixels.
    """
    lanes, wide, _, _, step = read
    rows, pixels, start, image, line, pixel = written
    channels, run, size = begins.shape[1], pixels * lanes, images.shape[3] * wide * lanes
    sums = np.empty((channels + SIDE) * ROW + SIDE, np.float32)
    sums = sums[-(sums.ctypes.data // 4) % SIDE :]
    past = channels % SIDE == 0 and out.ctypes.data % (4 * SIDE) == 0  # what is read next is far more than the caches
    laid[:] = 0
    for begin in range(0, len(images), lanes):
        count, base, done = min(lanes, len(images) - begin), np.int64(0), np.int64(0)
        for h in range(rows):
            base, done = _lay(images, begin, count, h * step, base, done, read, column, laid)
            for p in range(0, run, LONG):
                shift, length, at = (h * step - base) * size + p, min(LONG, run - p), 0
                if length == LONG:
                    _sum(zeros(LONG), begins, offset, value, bias, laid, shift, sums)
                    at = LONG
                while at + MIDDLE <= length:
                    _sum(zeros(MIDDLE), begins, offset, value, bias, laid, shift + at, sums[at:])
                    at += MIDDLE
                while at < length:
                    _sum(zeros(SHORT), begins, offset, value, bias, laid, shift + at, sums[at:])
                    at += SHORT
                for i in range(0, length, SIDE):
                    w, b = (p + i) // lanes, (p + i) % lanes
                    to = start + (begin + b) * image + h * line + w * pixel
                    for c in range(0, channels if b < count else 0, SIDE):
                        turn(sums, c * ROW + i, ROW, channels - c, count - b, out, to + c, image, past)


@compiled(fastmath=SUMS)
def gradients(
    begins: Array,
    offset: Array,
    images: Array,
    read: tuple[int, ...],
    column: Array,
    laid: Array,
    grad: Array,
    plain: Array,
    turned: Array,
    out: Array,
) -> None:
    """out[k] += sum over all rows and runs p of grad[o, p] laid[offset[k] + p]: the gradient of every remaining weight.

    As above; `grad`: (N, H', W', O); `turned`: flat, of one row of it, and `plain` the place of each pixel there.
    """
    lanes, wide, _, _, step = read
    _, rows, pixels, _ = grad.shape
    run, size = pixels * lanes, images.shape[3] * wide * lanes
    laid[:] = 0
    for begin in range(0, len(images), lanes):
        count, base, done = min(lanes, len(images) - begin), np.int64(0), np.int64(0)
        if count < lanes:
            laid[:] = 0
            turned[:] = 0
        for h in range(rows):
            base, done = _lay(images, begin, count, h * step, base, done, read, column, laid)
            _lay_row(grad, begin, count, h, lanes, pixels, plain, turned)
            shift, at = (h * step - base) * size, 0
            while at + LONG <= run:
                _dot(zeros(LONG), begins, offset, laid, shift + at, turned[at:], run, out)
                at += LONG
            while at + MIDDLE <= run:
                _dot(zeros(MIDDLE), begins, offset, laid, shift + at, turned[at:], run, out)
                at += MIDDLE
            while at < run:
                _dot(zeros(SHORT), begins, offset, laid, shift + at, turned[at:], run, out)
                at += SHORT


@compiled(fastmath=SUMS)
def _sum(
    like: Any, begins: Array, offset: Array, value: Array, bias: Array, laid: Array, shift: int, sums: Array
) -> None:
    for block in range(len(begins) - 1):
        for o in range(begins.shape[1]):
            total = load(like, sums, o * ROW) if block else filled(like, bias[o])
            for k in range(begins[block, o], begins[block + 1, o]):
                total = add(total, value[k], load(like, laid, offset[k] + shift))
            store(total, sums, o * ROW)


@compiled(fastmath=SUMS)
def _dot(like: Any, begins: Array, offset: Array, laid: Array, shift: int, grad: Array, plane: int, out: Array) -> None:
    for block in range(len(begins) - 1):
        for o in range(begins.shape[1]):
            given = load(like, grad, o * plane)
            for k in range(begins[block, o], begins[block + 1, o]):
                out[k] += dot(given, load(like, laid, offset[k] + shift))


@compiled(fastmath=SUMS)
def _lay(
    images: Array,
    begin: int,
    count: int,
    row: int,
    base: int,
    done: int,
    read: tuple[int, ...],
    column: Array,
    laid: Array,
) -> tuple[int, int]:
    """Lay out what is missing of the rows that begin at `row`: rows from `base` to before `done` are there.

    If there is no room for them, those that are still needed go to its beginning. Returns the new `base` and `done`.
    """
    lanes, wide, top, high, _ = read
    size = images.shape[3] * wide * lanes
    if (row + high - base) * size > len(laid):
        for i in range(max(0, done - row) * size):
            laid[i] = laid[(row - base) * size + i]
        base = row
    for h in range(max(row, done), row + high):
        there = laid[(h - base) * size : (h - base + 1) * size]
        if top <= h < top + images.shape[1]:
            _lay_row(images, begin, count, h - top, lanes, wide, column, there)
        else:
            there[:] = 0
    return base, max(done, row + high)


@compiled(fastmath=SUMS)
def _lay_row(images: Array, begin: int, count: int, h: int, lanes: int, wide: int, column: Array, laid: Array) -> None:
    """Row `h` of images `begin`, ... as (C, wide, lanes)."""
    _, height, width, channels = images.shape
    flat, image = images.reshape(-1), height * width * channels
    for c in range(0, channels, SIDE):
        for b in range(0, count, SIDE):
            at = (begin + b) * image + h * width * channels + c
            for w in range(width):
                if column[w] >= 0:
                    to = (c * wide + column[w]) * lanes + b
                    turn(flat, at + w * channels, image, count - b, channels - c, laid, to, wide * lanes, False)
