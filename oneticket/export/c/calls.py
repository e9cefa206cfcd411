"""Calls: the C text for each kind of layer, with its tables and functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from oneticket.export.c import packing
from oneticket.export.c.layers import (
    BINARY,
    Adaptive,
    Affine,
    Binary,
    Channelwise,
    Concat,
    Conv,
    Layer,
    Linear,
    Pad,
    Pointwise,
    Pool,
    Prelu,
    Softmax,
    Weighted,
    conv_shape,
)
from oneticket.export.c.packing import Array
from oneticket.export.c.text import Text, c_type

DENSEST = {4: 0.3, 1: 0.5}
"""Bytes of a value -> density above which a linear layer stores all its weights.

For float32 a loop over all weights, without distances, is then as fast on a CPU with wide vectors. Int8 weights are
for small files, and at half density distances take as many bytes as zeros.
"""


def _linear(text: Text, layer: Linear, name: str) -> None:
    values, kind, scale = _values(text, layer, name)
    words = {"VALUE": c_type(values)}
    call = [text.at(layer.inputs[0]), text.at(layer.output), len(values)]
    if np.count_nonzero(values) > DENSEST[values.itemsize] * values.size:
        tile = packing.tile(len(values))
        function = text.kernel("dense", f"dense_{kind}_{tile}", TILE=tile, CHAINS=_chains(tile), **words)
        call += [values.shape[1], text.table(f"{name}_values", packing.tiles(values, tile), weights=True)]
    else:
        packed = packing.linear(values)
        types = {"DELTA": c_type(packed.deltas), "ORDER": c_type(packed.order)}
        narrow = f"{packed.deltas.itemsize * 8}_{packed.order.itemsize * 8}"
        function = text.kernel("linear", f"linear_{kind}_{narrow}", **types, **words)
        call += [text.table(f"{name}_{part}", getattr(packed, part)) for part in ("ends", "order", "deltas")]
        call += [text.table(f"{name}_values", packed.values, weights=True)]
    text.call(function, *call, *scale, text.table(f"{name}_bias", layer.bias.numpy()))


def _conv(text: Text, layer: Conv, name: str) -> None:
    values, kind, scale = _values(text, layer, name)
    (rows, columns), (_, height, width) = packing.plane(layer), conv_shape(layer.shape)
    tile = packing.tile((height - 1) * columns + width)
    packed, border = packing.conv(layer, values, (rows, columns)), f"scratch + {text.memory.borders[layer.output]}"
    function = text.kernel(
        "conv",
        f"conv_{kind}_{packed.deltas.itemsize * 8}_{tile}",
        DELTA=c_type(packed.deltas),
        TILE=tile,
        CHAINS=_chains(tile),
        VALUE=c_type(values),
    )
    given = (text.at(layer.inputs[0]), border, *layer.image, *layer.padding, *layer.stride, rows, columns)
    text.call(text.kernel("pad"), *given)
    tables = [text.table(f"{name}_{part}", getattr(packed, part)) for part in ("ends", "deltas")]
    tables += [text.table(f"{name}_values", packed.values, weights=True), *scale]
    tables += [text.table(f"{name}_bias", layer.bias.numpy())]
    activation = text.activation(layer.activation) if layer.activation else "NULL"
    text.call(function, border, text.at(layer.output), len(values), *tables, height, width, columns, activation)


def _values(text: Text, layer: Weighted, name: str) -> tuple[Array, str, list[str]]:
    """The values to store, their kind, and the table of their scales, if any."""
    if layer.levels is None or layer.scale is None:
        return layer.weight.numpy(), "float", []
    return layer.levels.numpy(), "int8", [text.table(f"{name}_scale", layer.scale.numpy())]


def _chains(tile: int) -> int:
    """How many sums are computed in parallel, since one addition must wait for the one before it."""
    return 4 if tile == 8 else 2 if tile <= 24 else 1


def _pool(text: Text, layer: Pool, _: str) -> None:
    window = (*layer.kernel, *layer.stride, *layer.padding, *layer.dilation)
    size = (*layer.image, *conv_shape(layer.shape)[1:], *window)
    mean = int(layer.kind == "avg")
    given = (text.at(layer.inputs[0]), text.at(layer.output), mean, *size, int(layer.padded), layer.divisor)
    text.call(text.kernel("pool"), *given)


def _padded(text: Text, layer: Pad, _: str) -> None:
    size = (*layer.image, *layer.before, 1, 1, *conv_shape(layer.shape)[1:])
    text.call(text.kernel("pad"), text.at(layer.inputs[0]), text.at(layer.output), *size)


def _adaptive(text: Text, layer: Adaptive, _: str) -> None:
    size = (*layer.image, *conv_shape(layer.shape)[1:])
    given = (text.at(layer.inputs[0]), text.at(layer.output), int(layer.kind == "avg"), *size)
    text.call(text.kernel("adaptive"), *given)


def _affine(text: Text, layer: Affine, name: str) -> None:
    tables = [text.table(f"{name}_{part}", getattr(layer, part).numpy()) for part in ("scale", "shift")]
    plane = math.prod(layer.shape) // len(layer.scale)
    text.call(text.kernel("affine"), text.at(layer.inputs[0]), text.at(layer.output), len(layer.scale), plane, *tables)


def _prelu(text: Text, layer: Prelu, name: str) -> None:
    plane = math.prod(layer.shape) // len(layer.slope)
    given = (text.at(layer.inputs[0]), text.at(layer.output), len(layer.slope), plane)
    text.call(text.kernel("prelu"), *given, text.table(f"{name}_slope", layer.slope.numpy()))


def _binary(text: Text, layer: Binary, _: str) -> None:
    given = [text.at(value) for value in (*layer.inputs, layer.output)]
    text.call(text.kernel(layer.kind), *given, math.prod(layer.shape))


def _channelwise(text: Text, layer: Channelwise, _: str) -> None:
    function = text.kernel("channelwise", f"{layer.kind}_by_channel", OPERATION=BINARY[layer.kind].c)
    given = [text.at(value) for value in (*layer.inputs, layer.output)]
    text.call(function, *given, layer.shape[0], math.prod(layer.shape[1:]))


def _pointwise(text: Text, layer: Pointwise, _: str) -> None:
    if text.at(layer.inputs[0]) != text.at(layer.output):
        _copied(text, layer.inputs[0], text.at(layer.output), math.prod(layer.shape))


def _concat(text: Text, layer: Concat, _: str) -> None:
    shapes = {one.output: one.shape for one in text.network.layers} | {0: text.network.input}
    first = 0
    for value in layer.inputs:
        count = math.prod(shapes[value])
        _copied(text, value, f"{text.at(layer.output)} + {first}", count)
        first += count


def _copied(text: Text, value: int, to: str, count: int) -> None:
    text.call("memcpy", to, text.at(value), f"{count} * sizeof(float)")


def _softmax(text: Text, layer: Softmax, _: str) -> None:
    outer, inner = math.prod(layer.shape[: layer.axis]), math.prod(layer.shape[layer.axis + 1 :])
    given = (text.at(layer.inputs[0]), text.at(layer.output), outer, layer.shape[layer.axis], inner, int(layer.log))
    text.call(text.kernel("softmax"), *given)


CALLS: dict[type[Layer], Callable[[Text, Any, str], None]] = {
    Linear: _linear,
    Conv: _conv,
    Affine: _affine,
    Prelu: _prelu,
    Pad: _padded,
    Pool: _pool,
    Adaptive: _adaptive,
    Binary: _binary,
    Channelwise: _channelwise,
    Pointwise: _pointwise,
    Concat: _concat,
    Softmax: _softmax,
}
"""Layer -> the function that writes it."""


def describe(layer: Layer) -> str:
    """A layer in words."""
    name = re.sub(r"[^\w .()-]", "_", layer.name, flags=re.ASCII)
    said = f"{name}: {' x '.join(map(str, layer.shape or (1,)))} numbers"
    if isinstance(layer, Weighted):
        said += f", {int(layer.weight.count_nonzero()):,} of {layer.weight.numel():,} weights"
    return said
