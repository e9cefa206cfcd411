"""Packing: remaining weights in a row, each with its distance from the one before, in narrow integers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from oneticket.export.c.layers import Conv, conv_shape

Array = np.ndarray[Any, Any]
TOGETHER = 4
"""Outputs of a linear layer that are computed in parallel."""


class Packed(NamedTuple):
    """`values` and `deltas`, one for each stored weight, and the end of each row or group.

    A distance too large for its type is split into steps with value 0. `order`: the rows in the order of a linear
    layer's groups.
    """

    ends: Array
    deltas: Array
    values: Array
    order: Array


def linear(weight: Array) -> Packed:
    """The nonzero weights (outputs, inputs), four rows in parallel, rows of similar counts together.

    >>> found = linear(np.array([[0, 3, 0], [5, 0, 7]], dtype=np.float32))
    >>> found.order.tolist(), found.ends.tolist(), found.deltas.reshape(-1, 4)[:, :2].tolist()
    ([0, 1], [2], [[1, 0], [0, 2]])
    """
    rows, columns = weight.nonzero()
    narrow, wide = (_steps(rows, columns, limit) for limit in (255, 65535))
    size = weight.itemsize
    steps = narrow if len(narrow.row) * (1 + size) <= len(wide.row) * (2 + size) else wide
    counts = np.bincount(steps.row, minlength=len(weight))
    order = np.argsort(counts, kind="stable")
    groups = -(-len(weight) // TOGETHER)
    longest = np.zeros(groups * TOGETHER, np.int64)
    longest[: len(weight)] = counts[order]
    ends = longest.reshape(groups, TOGETHER).max(1).cumsum()
    place = np.empty(len(weight), np.int64)
    place[order] = np.arange(len(weight))
    at = np.arange(len(steps.row)) - np.repeat(counts.cumsum() - counts, counts)
    slot = np.concatenate([[0], ends])[place[steps.row] // TOGETHER] + at
    deltas = np.zeros((int(ends[-1]), TOGETHER), steps.delta.dtype)
    values = np.zeros((int(ends[-1]), TOGETHER), weight.dtype)
    deltas[slot, place[steps.row] % TOGETHER] = steps.delta
    values[slot, place[steps.row] % TOGETHER] = np.where(steps.real, weight[rows, columns][steps.of], 0)
    return Packed(ends.astype(np.uint32), deltas.ravel(), values.ravel(), order.astype(narrowest(len(weight))))


def conv(layer: Conv, weight: Array, plane: tuple[int, int]) -> Packed:
    """The nonzero weights, channel by channel; distances are between the numbers of the input that they multiply.

    `plane`: rows and columns of a channel with its borders, or of one of its stride x stride planes.
    """
    (rows, columns), (sy, sx), (dy, dx) = plane, layer.stride, layer.dilation
    out, inputs, y, x = weight.nonzero()
    channel = out // (len(weight) // layer.groups) * weight.shape[1] + inputs
    part = (y * dy % sy) * sx + x * dx % sx
    offset = ((channel * (sy * sx) + part) * rows + y * dy // sy) * columns + x * dx // sx
    sort = np.lexsort((offset, out))
    narrow = _steps(out[sort], offset[sort], 255)
    steps = narrow if bool(narrow.real.all()) else _steps(out[sort], offset[sort], 65535)
    ends = np.bincount(steps.row, minlength=len(weight)).cumsum()
    values = np.where(steps.real, weight[out, inputs, y, x][sort][steps.of], 0).astype(weight.dtype)
    return Packed(ends.astype(np.uint32), steps.delta, values, np.arange(0))


def plane(layer: Conv) -> tuple[int, int]:
    """Rows and columns of one plane of an input channel with its borders: every stride-th one."""
    _, rows, columns = conv_shape(layer.shape)
    (kh, kw), (sy, sx), (dy, dx) = layer.weight.shape[2:], layer.stride, layer.dilation
    return rows + (kh - 1) * dy // sy, columns + (kw - 1) * dx // sx


def tiles(weight: Array, tile: int) -> Array:
    """Dense weights (outputs, inputs) in tiles of so many outputs, input by input, with zeros in the last one."""
    count = -(-len(weight) // tile)
    whole = np.zeros((count * tile, weight.shape[1]), weight.dtype)
    whole[: len(weight)] = weight
    return np.ascontiguousarray(whole.reshape(count, tile, -1).transpose(0, 2, 1)).ravel()


def tile(span: int) -> int:
    """How many of so many positions are computed in parallel: the multiple of 8 that wastes least, at most 64.

    >>> tile(6), tile(78), tile(1086), tile(22)
    (8, 40, 64, 24)
    """
    return min(range(8, 65, 8), key=lambda size: -(-span // size) * (size + 8))


def narrowest(count: int) -> type[np.unsignedinteger[Any]]:
    """The type for the numbers of so many outputs: one of two, so that layers share their functions."""
    return np.uint16 if count <= 2**16 else np.uint32


class _Steps(NamedTuple):
    row: Array
    delta: Array
    of: Array  # which weight
    real: Array  # False for an intermediate step


def _steps(row: Array, place: Array, limit: int) -> _Steps:
    """Distances along rows, the first from 0, in steps of at most `limit`."""
    first = np.ones(len(row), bool)
    first[1:] = row[1:] != row[:-1]
    distance = np.where(first, place, place - np.concatenate([[0], place[:-1]]))
    more = np.maximum(distance - 1, 0) // limit
    of = np.repeat(np.arange(len(row)), more + 1)
    real = np.zeros(len(of), bool)
    real[(more + 1).cumsum() - 1] = True
    delta = np.where(real, (distance - more * limit)[of], limit)
    return _Steps(row[of], delta.astype(np.uint8 if limit < 256 else np.uint16), of, real)
