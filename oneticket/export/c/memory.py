"""Where values lie in the scratch memory: each until its last read, in as little memory as that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from oneticket.export.c.layers import Affine, Binary, Channelwise, Conv, Network, Pointwise, Prelu, conv_shape
from oneticket.export.c.packing import plane, tile

IN_PLACE = (Affine, Binary, Channelwise, Pointwise, Prelu)
"""Layers that may overwrite their first input."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """`values`: a value -> its first float; `borders`: a convolution's output -> that of its padded input."""

    values: Mapping[int, int]
    borders: Mapping[int, int]
    floats: int


def plan(network: Network) -> Memory:
    """A place for every value except the input and the output, which are the caller's."""
    last: dict[int, int] = {}
    for step, layer in enumerate(network.layers):
        last |= dict.fromkeys(layer.inputs, step)
    buffer: dict[int, int] = {}
    spans: dict[tuple[str, int], tuple[int, int, int]] = {}  # what -> floats, first and last step
    for step, layer in enumerate(network.layers):
        if isinstance(layer, Conv):
            spans["border", layer.output] = (padded(layer), step, step)
        if layer.output == network.output:
            continue
        end, before = last.get(layer.output, step), buffer.get(layer.inputs[0])
        if isinstance(layer, IN_PLACE) and before is not None and last[layer.inputs[0]] == step:
            buffer[layer.output] = before
            floats, begin, _ = spans["value", before]
            spans["value", before] = (floats, begin, end)
        else:
            buffer[layer.output] = layer.output
            spans["value", layer.output] = (math.prod(layer.shape), step, end)
    placed = _placed(spans)
    return Memory(
        values={number: placed["value", at] for number, at in buffer.items()},
        borders={number: at for (kind, number), at in placed.items() if kind == "border"},
        floats=max((at + spans[what][0] for what, at in placed.items()), default=0),
    )


def padded(layer: Conv) -> int:
    """Floats of a convolution's input with its borders, and of what the last tile reads beyond it.

    The last tile also reads the unused rows of the last channel.
    """
    (rows, columns), (_, height, width) = plane(layer), conv_shape(layer.shape)
    span = (height - 1) * columns + width
    size = tile(span)
    return layer.image[0] * math.prod(layer.stride) * rows * columns + -(-span // size) * size - span


def _placed(spans: Mapping[tuple[str, int], tuple[int, int, int]]) -> dict[tuple[str, int], int]:
    """The largest first, each at the lowest place that is free during its time."""
    placed: dict[tuple[str, int], int] = {}
    for what, (size, begin, end) in sorted(spans.items(), key=lambda item: -item[1][0]):
        at = 0
        taken = [(placed[one], spans[one]) for one in placed]
        for start, (floats, first, final) in sorted(taken):
            if first <= end and begin <= final and start < at + size and at < start + floats:
                at = start + floats
        placed[what] = at
    return placed
