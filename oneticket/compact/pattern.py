"""Where the remaining weights of a convolution are, and by which products of them it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from oneticket.compact import windows
from oneticket.compact.windows import Window
from oneticket.ticket.bits import from_bytes

Array = np.ndarray[Any, Any]
BLOCK = 2**16  # weights for which there are numbers of eight bytes at once
LATEST = 32  # sizes of images and batches whose products are kept, each pass by itself


class Entries(NamedTuple):
    """The remaining weights channel by channel, in the words of `tiles.convolve`."""

    first: Array
    place: Array


class Product(NamedTuple):
    """One product of a convolution: `place` of its entries, and what `tiles` calls `begins`."""

    window: Window
    lanes: int
    begins: Array
    place: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """Which weights (O, C, KH, KW) remain: their places by output and, once a gradient is asked for, by input too.

    Eight bytes a remaining weight at most where no channel has more than 65,536 places, two where no gradient of the
    input is needed. `by_output`: of every output channel, the places (C, KH, KW) of its weights, as numbers.
    """

    shape: tuple[int, int, int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]
    by_output: Entries
    _known: dict[tuple[int, ...], list[Product]] = field(default_factory=dict)

    @classmethod
    def of(cls, remaining: Tensor, padding: tuple[int, int], stride: tuple[int, int]) -> Pattern:
        """The pattern of a bool tensor (O, C, KH, KW)."""
        outputs, inputs, high, wide = remaining.shape
        places = inputs * high * wide
        counts, found = [], []
        for lives in torch.split(remaining.reshape(outputs, places), max(1, BLOCK // places)):
            rows, place = lives.numpy().nonzero()
            counts.append(np.bincount(rows, minlength=len(lives)))
            found.append(place.astype(narrow(places)))
        by_output = Entries(_begins(np.concatenate(counts)), np.concatenate(found))
        return cls(shape=(outputs, inputs, high, wide), padding=padding, stride=stride, by_output=by_output)

    @cached_property
    def by_input(self) -> tuple[Entries, Tensor]:
        """Of every input channel, the places (O, KH, KW) of its weights, and which of `by_output` each is: int32.

        With a stride, those channels phase by phase: of the kernel's rows, and of its columns. A stable sort, block by
        block: numbers of eight bytes are needed for one block alone.
        """
        outputs, inputs, high, wide = self.shape
        (first, place), size = self.by_output, high * wide
        groups = inputs * self.stride[0] * self.stride[1]
        counts = np.zeros(groups, np.int64)
        for some in _blocks(place):
            counts += np.bincount(self._group(some), minlength=groups)
        begins = _begins(counts)
        order, turned, begin = np.empty(len(place), np.int32), np.empty(len(place), narrow(outputs * size)), 0
        to = begins[:-1].astype(np.int64)  # where the next weight of each group goes
        for some in _blocks(place):
            group = self._group(some)
            sort = group.argsort(kind="stable")
            group, count = group[sort], np.bincount(group, minlength=groups)
            at = to[group] + np.arange(len(some)) - (count.cumsum() - count)[group]
            output = np.searchsorted(first, begin + sort, side="right") - 1
            order[at], turned[at] = begin + sort, output * size + some[sort].astype(np.int64) % size
            to, begin = to + count, begin + len(some)
        return Entries(begins, turned), torch.from_numpy(order)

    def _group(self, place: Array) -> Array:
        """Which phase and input channel places belong to, as a number."""
        _, inputs, high, wide = self.shape
        place = place.astype(np.int64)  # with a stride there may be more groups than places
        channel: Array = place // (high * wide)
        if self.stride == (1, 1):
            return channel
        row, column = place // wide % high % self.stride[0], place % wide % self.stride[1]
        channel += (row * self.stride[1] + column) * inputs
        return channel

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Of the output, for images of that size."""
        each = zip((height, width), self.padding, self.shape[2:], self.stride, strict=True)
        rows, columns = ((size + 2 * pad - kernel) // step + 1 for size, pad, kernel, step in each)
        return rows, columns

    def forward(self, height: int, width: int, count: int) -> Product:
        """The product with so many images of that size."""
        made = self._latest((height, width, count), lambda: self._forward(height, width, count))
        return made[0]

    def to_input(self, height: int, width: int, count: int) -> list[Product]:
        """The products that give the gradient of as many, for each phase of input rows and pixels that has weights."""
        return self._latest((height, width, count, 0), lambda: self._to_input(height, width, count))

    def _latest(self, key: tuple[int, ...], make: Callable[[], list[Product]]) -> list[Product]:
        """What is known by that key, or made now; only what was asked for last stays, as images may have any size."""
        found = self._known.pop(key, None)
        self._known[key] = found = make() if found is None else found
        for old in [*self._known][:-LATEST]:
            self._known.pop(old, None)
        return found

    def _forward(self, height: int, width: int, count: int) -> list[Product]:
        return [self._product(windows.forward(*self._sizes(height, width)), count, self.by_output)]

    def _to_input(self, height: int, width: int, count: int) -> list[Product]:
        ((first, place), _), inputs = self.by_input, self.shape[1]
        found = enumerate(windows.backward(*self._sizes(height, width)))
        some = [(window, first[at * inputs : (at + 1) * inputs + 1]) for at, window in found if all(window.size)]
        return [
            self._product(window, count, Entries(begins, place)) for window, begins in some if begins[0] < begins[-1]
        ]

    def _sizes(self, height: int, width: int) -> tuple[Any, ...]:
        return self.shape, self.padding, self.stride, (height, width), self.size(height, width)

    def _product(self, window: Window, count: int, entries: Entries) -> Product:
        lanes, outputs = window.lanes(count), len(entries.first) - 1
        few = window.block(lanes, int(entries.first[-1] - entries.first[0]) // outputs)
        return Product(window, lanes, _divided(entries, few * self.shape[2] * self.shape[3]), entries.place)


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


def narrow(places: int) -> type[np.unsignedinteger[Any]]:
    """The numbers that so many places need."""
    return np.uint16 if places <= 2**16 else np.uint32


def _blocks(place: Array) -> list[Array]:
    return [place[begin : begin + BLOCK] for begin in range(0, len(place), BLOCK)]


def _begins(counts: Array) -> Array:
    """Where each channel's entries begin, and the end of the last: int32 (channels + 1,)."""
    return np.concatenate([[0], counts.cumsum()]).astype(np.int32)


def _divided(entries: Entries, size: int) -> Array:
    """Where the entries of each channel begin in each block of so many places: int32 (blocks + 1, channels)."""
    (first, place), blocks = entries, 1
    if len(place):
        blocks += int(place.max()) // size
    begins = np.empty((blocks + 1, len(first) - 1), np.int32)
    begins[0], begins[-1] = first[:-1], first[1:]
    if blocks > 1:
        ends = (np.arange(1, blocks) * size).astype(place.dtype)
        for channel, (begin, end) in enumerate(pairwise(first)):
            begins[1:-1, channel] = begin + np.searchsorted(place[begin:end], ends)
    return begins
