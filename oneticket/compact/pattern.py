"""Where the remaining weights of a layer are, and over which runs of numbers its products go."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from oneticket.ticket.bits import from_bytes

Array = np.ndarray[Any, Any]
BLOCK = 2**16  # weights for which there are numbers of eight bytes at once
LONGEST, SHORTEST = 4096, 64  # numbers of a run: five runs stay in the first cache, and a loop over one pays


class Entries(NamedTuple):
    """The remaining weights channel by channel, in the words of `kernels.products`."""

    first: Array
    place: Array


class IndexRuns(NamedTuple):
    """One product, in the words of `kernels.products`."""

    table: Array | None
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
    """Which weights (O, C, KH, KW) remain: their places by output and, once a gradient is asked for, by input too.

    Eight bytes a remaining weight at most where no channel has more than 65,536 places, two where no gradient of the
    input is needed. `by_output`: of every output channel, the places (C, KH, KW) of its weights, as numbers.
    """

    shape: tuple[int, int, int, int]
    padding: tuple[int, int]
    by_output: Entries
    _plans: dict[tuple[int, int, int], KernelPlan] = field(default_factory=dict)

    @classmethod
    def of(cls, remaining: Tensor, padding: tuple[int, int]) -> Pattern:
        """The pattern of a bool tensor (O, C, KH, KW)."""
        outputs, inputs, high, wide = remaining.shape
        places = inputs * high * wide
        counts, found = [], []
        for lives in torch.split(remaining.reshape(outputs, places), max(1, BLOCK // places)):
            rows, place = lives.numpy().nonzero()
            counts.append(np.bincount(rows, minlength=len(lives)))
            found.append(place.astype(narrow(places)))
        by_output = Entries(_begins(np.concatenate(counts)), np.concatenate(found))
        return cls(shape=(outputs, inputs, high, wide), padding=padding, by_output=by_output)

    @cached_property
    def by_input(self) -> tuple[Entries, Tensor]:
        """Of every input channel, the places (O, KH, KW) of its weights, and which of `by_output` each is: int32.

        A stable sort by input channel, block by block: numbers of eight bytes are needed for one block alone.
        """
        outputs, inputs, high, wide = self.shape
        (first, place), size = self.by_output, high * wide
        counts = np.zeros(inputs, np.int64)
        for some in _blocks(place):
            counts += np.bincount(some // size, minlength=inputs)
        begins = _begins(counts)
        order, turned, begin = np.empty(len(place), np.int32), np.empty(len(place), narrow(outputs * size)), 0
        to = begins[:-1].astype(np.int64)  # where the next weight of each channel goes
        for some in _blocks(place):
            channel = some // size
            sort = channel.argsort(kind="stable")
            channel, count = channel[sort], np.bincount(channel, minlength=inputs)
            at = to[channel] + np.arange(len(some)) - (count.cumsum() - count)[channel]
            output = np.searchsorted(first, begin + sort, side="right") - 1
            order[at], turned[at] = begin + sort, output * size + some[sort] % size
            to, begin = to + count, begin + len(some)
        return Entries(begins, turned), torch.from_numpy(order)

    def plan(self, height: int, width: int, count: int) -> KernelPlan:
        """The products for images of that size and batches of that many."""
        key = (height, width, count)
        if key not in self._plans:
            self._plans[key] = self._plan(*key)
        return self._plans[key]

    def _plan(self, height: int, width: int, count: int) -> KernelPlan:
        outputs, inputs, high, wide = self.shape
        x_pad, y_pad = self.padding, (high - 1 - self.padding[0], wide - 1 - self.padding[1])
        out = (height + x_pad[0] - y_pad[0], width + x_pad[1] - y_pad[1])
        x_wide, y_wide = width + 2 * x_pad[1], out[1] + 2 * y_pad[1]
        x_plane, y_plane = (height + 2 * x_pad[0]) * x_wide, (out[0] + 2 * y_pad[0]) * y_wide
        i, j = np.arange(high)[:, None], np.arange(wide)
        # An input meets a kernel place where an output meets the opposite one.
        x_row = _table(inputs, x_plane, i * x_wide + j)
        y_row = _table(outputs, y_plane, (high - 1 - i) * y_wide + (wide - 1 - j))
        over, back = _run(out[1], count), _run(width, count)
        read = _at(out, x_wide, (0, 0), count, over)
        inner = _at(out, y_wide, y_pad, count, over)
        plain = _at(out, out[1], (0, 0), count, over)
        return KernelPlan(
            x_pad=x_pad,
            y_pad=y_pad,
            y_size=out,
            forward=IndexRuns(x_row, read, plain, out[0] * out[1] * count, over),
            to_weight=IndexRuns(x_row, read, inner, y_plane * count, over),
            to_input=IndexRuns(
                y_row,
                _at((height, width), y_wide, (0, 0), count, back),
                _at((height, width), width, (0, 0), count, back),
                height * width * count,
                back,
            ),
        )


def picked(values: Tensor, remaining: Tensor) -> Tensor:
    """The values where a bool tensor of their shape is True, in the order of `nonzero`.

    Block by block, since torch makes one or two numbers of eight bytes for each that it takes out.

    >>> picked(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[True, False], [True, True]]))
    tensor([1., 3., 4.])
    """
    if values.numel() <= BLOCK:
        return values[remaining]
    size = max(1, BLOCK * len(values) // values.numel())
    found = values.new_empty(int(remaining.count_nonzero()))
    begin = 0
    for some, lives in zip(torch.split(values, size), torch.split(remaining, size), strict=True):
        part = some[lives]
        found[begin : begin + len(part)] = part
        begin += len(part)
    return found


def place(values: Tensor, packed: Tensor, out: Tensor) -> None:
    """Write values where the bits of `Mask.pack` are set, in their order, and zeros elsewhere: `picked` undone.

    Block by block too, where the tensor lies in that order.

    >>> out = torch.ones(2, 2)
    >>> place(torch.tensor([1.0, 3.0, 4.0]), torch.tensor([13], dtype=torch.uint8), out)
    >>> out
    tensor([[1., 0.],
            [3., 4.]])
    """
    if not out.is_contiguous() or out.device.type != "cpu":
        out.zero_().masked_scatter_(from_bytes(packed, out.numel()).view(out.shape).to(out.device), values)
        return
    begin = 0
    for some, bits in zip(torch.split(out.view(-1), BLOCK), torch.split(packed, BLOCK // 8), strict=True):
        remaining = from_bytes(bits, len(some))
        end = begin + int(remaining.count_nonzero())
        some.zero_().masked_scatter_(remaining, values[begin:end])
        begin = end


def _table(channels: int, plane: int, inside: Array) -> Array | None:
    """Where the run of each place begins: int32 (channels x places of a kernel,), int64 if that is too small.

    None where it is the place itself, as in a linear layer.
    """
    if plane == inside.size == 1:
        return None
    begins = (np.arange(channels)[:, None] * plane + inside.ravel()).ravel()
    return begins.astype(np.int32) if channels * plane < 2**31 else begins


def narrow(places: int) -> type[np.unsignedinteger[Any]]:
    """The numbers that so many places need."""
    return np.uint16 if places <= 2**16 else np.uint32


def _blocks(place: Array) -> list[Array]:
    return [place[begin : begin + BLOCK] for begin in range(0, len(place), BLOCK)]


def _begins(counts: Array) -> Array:
    """Where each channel's entries begin, and the end of the last: int32 (channels + 1,)."""
    return np.concatenate([[0], counts.cumsum()]).astype(np.int32)


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
