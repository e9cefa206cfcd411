"""Where the remaining weights of a layer are, and over which runs of numbers its products go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]
LONGEST, SHORTEST = 4096, 64  # numbers of a run: five runs stay in the first cache, and a loop over one pays


class IndexRuns(NamedTuple):
    """One product, in the words of `kernels.products`."""

    first: Array
    row: Array
    x_at: Array
    y_at: Array
    plane: int
    run: int


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelPlan:
    """The products of a layer for one size of batch and image; sizes and borders are (height, width).

    Inputs are stored with borders `x_pad`, gradients of the output with borders `y_pad`. `forward` reads inputs and
    gives outputs without borders; `to_weight` reads inputs and gradients; `to_input` reads gradients and gives those of
    the input, without borders.
    """

    x_pad: tuple[int, int]
    y_pad: tuple[int, int]
    y_size: tuple[int, int]
    forward: IndexRuns
    to_weight: IndexRuns
    to_input: IndexRuns


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """Which weights (O, C, KH, KW) remain: flat positions, and where each channel begins, by output and by input.

    `order`: the remaining weights sorted by input channel.
    """

    shape: tuple[int, int, int, int]
    padding: tuple[int, int]
    index: Array
    of_output: Array
    of_input: Array
    order: Tensor
    _plans: dict[tuple[int, int, int], KernelPlan] = field(default_factory=dict)

    @classmethod
    def of(cls, remaining: Tensor, padding: tuple[int, int]) -> Pattern:
        """The pattern of a bool tensor (O, C, KH, KW)."""
        outputs, inputs, high, wide = remaining.shape
        index = remaining.flatten().nonzero().squeeze(1)
        channel = index // (high * wide) % inputs
        return cls(
            shape=(outputs, inputs, high, wide),
            padding=padding,
            index=index.int().numpy(),
            of_output=_begins(index // (inputs * high * wide), outputs),
            of_input=_begins(channel, inputs),
            order=channel.argsort(stable=True).int(),
        )

    def plan(self, height: int, width: int, count: int) -> KernelPlan:
        """The products for images of that size and batches of that many."""
        key = (height, width, count)
        if key not in self._plans:
            self._plans[key] = self._plan(*key)
        return self._plans[key]

    def _plan(self, height: int, width: int, count: int) -> KernelPlan:
        _, inputs, high, wide = self.shape
        x_pad, y_pad = self.padding, (high - 1 - self.padding[0], wide - 1 - self.padding[1])
        out = (height + x_pad[0] - y_pad[0], width + x_pad[1] - y_pad[1])
        x_wide, y_wide = width + 2 * x_pad[1], out[1] + 2 * y_pad[1]
        x_plane, y_plane = (height + 2 * x_pad[0]) * x_wide, (out[0] + 2 * y_pad[0]) * y_wide
        i, j = self.index // wide % high, self.index % wide
        output, channel = self.index // (inputs * high * wide), self.index // (high * wide) % inputs
        # An input meets a kernel place where an output meets the opposite one.
        x_row = channel * x_plane + i * x_wide + j
        y_row = output * y_plane + (high - 1 - i) * y_wide + (wide - 1 - j)
        over, back = _run(out[1], count), _run(width, count)
        read = _at(out, x_wide, (0, 0), count, over)
        inner = _at(out, y_wide, y_pad, count, over)
        plain = _at(out, out[1], (0, 0), count, over)
        return KernelPlan(
            x_pad=x_pad,
            y_pad=y_pad,
            y_size=out,
            forward=IndexRuns(self.of_output, x_row, read, plain, out[0] * out[1] * count, over),
            to_weight=IndexRuns(self.of_output, x_row, read, inner, y_plane * count, over),
            to_input=IndexRuns(
                self.of_input,
                y_row[self.order.numpy()],
                _at((height, width), y_wide, (0, 0), count, back),
                _at((height, width), width, (0, 0), count, back),
                height * width * count,
                back,
            ),
        )


def _begins(channel: Tensor, channels: int) -> Array:
    """Where each channel's entries begin, and the end of the last: int32 (channels + 1,)."""
    ends = torch.bincount(channel, minlength=channels).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends]).int().numpy()


def _run(wide: int, count: int) -> int:
    """The longest equal part of a row of pixels that is not too long: some whole pixels, or a part of one's batch."""
    pixels = [count * wide // parts for parts in range(1, wide + 1) if wide % parts == 0]
    batches = [count // parts for parts in range(1, count + 1) if count % parts == 0]
    fitting = [size for size in pixels + batches if size >= SHORTEST]
    return next((size for size in fitting if size <= LONGEST), min(fitting, default=wide * count))


def _at(size: tuple[int, int], wide: int, corner: tuple[int, int], count: int, run: int) -> Array:
    """Where the runs of an area begin, in planes that are `wide`, with its corner there: int64."""
    begins = (np.arange(size[0])[:, None] + corner[0]) * wide + corner[1]
    return (begins * count + np.arange(0, size[1] * count, run)).ravel()
