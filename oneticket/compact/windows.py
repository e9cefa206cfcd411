"""Where a convolution reads and writes: how its images are laid out in tiles, and where each weight's run begins.

With a stride s, every s-th pixel of an input's row is of one phase; in a laid row those of a phase lie side by side, so
that a kernel place still reads one run. The gradient of the input is a convolution of the output's gradient for each
phase of input rows and of input pixels, with those kernel places that meet them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Size = tuple[int, int]
Sizes = tuple[int, int, int, int]
SIDE, LONG = 16, 128  # of `tiles`: images of a tile come in multiples of the first
LONGEST = 256  # numbers of a run, from which on more images in a tile gain nothing
FIRST, FEW = 1 << 13, 12  # numbers that a block of entries reads for one run, and its entries of one output
CACHE = 1 << 18  # numbers that are read for one row of the output, and stay in the second cache
ROOM = 1 << 19  # numbers of laid rows at once, unless one output row reads more
PAGE = 1024  # numbers; rows that are multiples of it apart would share few places of the first cache


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """One product of a layer, in the words of `tiles.convolve`.

    `channels`: of what is read. `top`: rows of zeros above it, or, if negative, rows of it that are not read. `high`,
    `across`: laid rows and pixels that one output reads; `step`: laid rows to the next output row; `wide`: pixels of a
    laid row; `column`: int32, where each pixel goes in it. `begins`: int32, where each kernel place's run begins, in
    laid pixels. `size`: rows and pixels of what is written; `corner`, `stride`: (height, width), where its first pixel
    is among those of the whole, and how far to the next.
    """

    channels: int
    top: int
    high: int
    across: int
    step: int
    wide: int
    column: Array
    begins: Array
    size: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)

    def lanes(self, count: int) -> int:
        """How many images of so many make a tile."""
        blocks = max(1, -(-count // SIDE))
        most = min(LONGEST // self.size[1], CACHE // (self.high * self.channels * self.wide)) // SIDE
        tiles = -(-blocks // max(1, most))
        return SIDE * -(-blocks // tiles)

    def block(self, lanes: int, entries: int) -> int:
        """How many channels make a block, whose numbers stay in the first cache; `entries`: of an output."""
        reads = self.high * (min(LONG, self.size[1] * lanes) + (self.across - 1) * lanes)
        blocks = min(-(-self.channels * reads // FIRST), entries // FEW)
        return -(-self.channels // max(1, blocks))

    def offsets(self, place: Array, lanes: int) -> Array:
        """Where the runs of entries begin, in laid numbers: int32."""
        return self.begins[place] * np.int32(lanes)

    def read(self, lanes: int) -> tuple[int, ...]:
        """What `tiles.convolve` calls so."""
        return lanes, self.wide, self.top, self.high, self.step

    def room(self, lanes: int) -> int:
        """How many numbers the laid rows take."""
        rows, row = (self.size[0] - 1) * self.step + self.high, self.channels * self.wide * lanes
        return row * min(rows, max(self.high, ROOM // row))

    def written(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """What `tiles.convolve` calls so, for an output of that many channels, rows and pixels."""
        line = width * channels
        start = self.corner[0] * line + self.corner[1] * channels
        return *self.size, start, height * line, self.stride[0] * line, self.stride[1] * channels


def forward(shape: Sizes, padding: Size, stride: Size, size: Size, out: Size) -> Window:
    """The product of weights (O, C, KH, KW) with images of that size."""
    _, channels, high, wide = shape
    part = -(-(size[1] + 2 * padding[1]) // stride[1])  # the pixels of one phase
    at, j = np.arange(size[1]) + padding[1], np.arange(wide)
    row = _apart(part * stride[1])
    return Window(
        channels=channels,
        top=padding[0],
        high=high,
        across=wide,
        step=stride[0],
        wide=row,
        column=(at % stride[1] * part + at // stride[1]).astype(np.int32),
        begins=_begins(channels, row, np.arange(high), j % stride[1] * part + j // stride[1]),
        size=out,
    )


def backward(shape: Sizes, padding: Size, stride: Size, size: Size, out: Size) -> list[Window]:
    """The products of weights with gradients of the output, for each phase of input rows and each of input pixels.

    An input meets a kernel place where an output meets the opposite one.
    """
    axes = [
        [_axis(phase, *each) for phase in range(each[-1])]
        for each in zip(size, shape[2:], padding, stride, strict=True)
    ]
    made = []
    for first, rows, high, above, i in axes[0]:
        for begin, pixels, reach, left, j in axes[1]:
            wide, column = _apart(pixels + reach - 1), np.arange(out[1]) + left
            column[column >= pixels + reach - 1] = -1
            made.append(
                Window(
                    channels=shape[0],
                    top=above,
                    high=high,
                    across=reach,
                    step=1,
                    wide=wide,
                    column=column.astype(np.int32),
                    begins=_begins(shape[0], wide, i, j),
                    size=(rows, pixels),
                    corner=(first, begin),
                    stride=stride,
                )
            )
    return made


def _axis(phase: int, size: int, kernel: int, padding: int, stride: int) -> tuple[int, int, int, int, Array]:
    """For the inputs that meet kernel places `phase`, `phase` + `stride`, ...: how their gradient reads the output's.

    The first input, how many, how many outputs one meets, the zeros before the first output (if negative, outputs
    that are not read), and which of the outputs each kernel place is (of other phases: any).
    """
    first = (phase - padding) % stride
    reach = max(1, len(range(phase, kernel, stride)))
    before = reach - 1 - (first + padding) // stride
    place = np.maximum(reach - 1 - np.arange(kernel) // stride, 0)
    return first, len(range(first, size, stride)), reach, before, place


def _begins(channels: int, wide: int, rows: Array, columns: Array) -> Array:
    """Of every place (channels, KH, KW), flat: rows are (channels, wide) pixels."""
    row = rows[:, None] * channels + np.arange(channels)[:, None, None]
    return (row * wide + columns).ravel().astype(np.int32)


def _apart(wide: int) -> int:
    return wide + (wide * SIDE % PAGE == 0)
