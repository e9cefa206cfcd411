"""Convolutions with remaining weights only, by numba kernels.

Images are taken some at a time, a tile, and laid out as (H, C, W, B): rows of pixels, of each pixel the B images side
by side, with zeros around them. A weight that joins input channel c to output channel o at kernel place (i, j) then
adds, for every row of the output, its multiple of one contiguous run of numbers. So a convolution is a sparse matrix
times shifted rows, without unfolding. `windows` finds where runs begin: `offset`. Rows are laid out just before they
are read, and sums go back into images (N, H, W, C) at once, so that all of it happens in the second cache. The sums of
`LONG` numbers of one output channel are in registers while its weights are gone through (`registers`).

Entries are gone through block by block of what they read, so that it stays in the first cache. What is written goes
past the caches, which whole activations exceed anyway.

Measured on one core (AMD EPYC with AVX-512, batch 128, 10 %), a layer forward and backward in turn with the dense one,
CPU ms, medians, 16 channels of 32 x 32 / 32 of 16 x 16 / 64 of 8 x 8 / 256 of 8 x 8: dense 16.1 / 9.0 / 7.6 / 107;
sparse 4.8 / 3.3 / 2.7 / 31. Runs that do not begin at multiples of 64 bytes take 1.2 to 1.6 times as long, so `laid`
must. Of the narrow ones most of the rest is memory: 16 channels at 0.01 % took 2.5 of the 4.0 ms of 10 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oneticket.compact import registers
from oneticket.compact.registers import SIDE, add, dot, filled, load, store, turn, zeros
from oneticket.ground import vectors
from oneticket.ground.compiled import SUMS, compiled

Array = np.ndarray[Any, Any]
LONG, MIDDLE, SHORT = 8 * SIDE, 4 * SIDE, SIDE  # numbers of a run whose sums are in registers at once
ROW = LONG + SIDE  # so that rows of sums are no multiple of 4096 bytes apart
kernel = compiled(registers, vectors, fastmath=SUMS)


@kernel
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


@kernel
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


@kernel
def _sum(
    like: Any, begins: Array, offset: Array, value: Array, bias: Array, laid: Array, shift: int, sums: Array
) -> None:
    for block in range(len(begins) - 1):
        for o in range(begins.shape[1]):
            total = load(like, sums, o * ROW) if block else filled(like, bias[o])
            for k in range(begins[block, o], begins[block + 1, o]):
                total = add(total, value[k], load(like, laid, offset[k] + shift))
            store(total, sums, o * ROW)


@kernel
def _dot(like: Any, begins: Array, offset: Array, laid: Array, shift: int, grad: Array, plane: int, out: Array) -> None:
    for block in range(len(begins) - 1):
        for o in range(begins.shape[1]):
            given = load(like, grad, o * plane)
            for k in range(begins[block, o], begins[block + 1, o]):
                out[k] += dot(given, load(like, laid, offset[k] + shift))


@kernel
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


@kernel
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
