"""The layers that C is written from: a network as a short list, each with its numbers, also computed by torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int, ...]
"""Of one input or output, without the batch."""

Pair = tuple[int, int]


class Activation(NamedTuple):
    """A function of one number: its name in ACTIVATIONS, and its parameters."""

    name: str
    first: float = 0.0
    second: float = 0.0

    def of(self, x: Tensor) -> Tensor:
        """The result by torch."""
        return ACTIVATIONS[self.name].torch(x, self.first, self.second)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer(ABC):
    """One layer: the numbers of the values that it reads and makes, and the shape of its output."""

    name: str
    inputs: tuple[int, ...]
    output: int
    shape: Shape
    activation: Activation | None = None

    def compute(self, *values: Tensor) -> Tensor:
        """The result by torch, for (N, ...) values."""
        found = self._compute(*values)
        return self.activation.of(found) if self.activation else found

    @abstractmethod
    def _compute(self, *values: Tensor) -> Tensor:
        """What torch computes before the activation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighted(Layer):
    """A layer with weights (outputs, ...), zero where pruned, and a bias; int8 weights are `levels` times `scale`.

    `levels` and `scale` are None for float32; for int8 `weight` is their product.
    """

    weight: Tensor
    bias: Tensor
    levels: Tensor | None = None
    scale: Tensor | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Weighted):
    """(inputs,) -> (outputs,)."""

    def _compute(self, *values: Tensor) -> Tensor:
        return F.linear(values[0].flatten(1), self.weight, self.bias)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(Weighted):
    """(C, H, W) -> (O, H, W); `image` is the input's shape. One-dimensional layers have height 1."""

    image: tuple[int, int, int]
    stride: Pair
    padding: Pair  # before the first row and column; the padding behind the last follows from the output's shape
    dilation: Pair
    groups: int

    def _compute(self, *values: Tensor) -> Tensor:
        x = values[0].reshape(-1, *self.image)
        (_, rows, columns), kernel = conv_shape(self.shape), self.weight.shape[2:]
        (sy, sx), (py, px), (dy, dx) = self.stride, self.padding, self.dilation
        below = (rows - 1) * sy + (kernel[0] - 1) * dy + 1 - self.image[1] - py
        right = (columns - 1) * sx + (kernel[1] - 1) * dx + 1 - self.image[2] - px
        padded = F.pad(x, (px, right, py, below))
        found = F.conv2d(padded, self.weight, self.bias, (sy, sx), 0, (dy, dx), self.groups)
        return found.reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Affine(Layer):
    """Every channel times `scale` plus `shift`; both (channels,)."""

    scale: Tensor
    shift: Tensor

    def _compute(self, *values: Tensor) -> Tensor:
        x = values[0].reshape(len(values[0]), len(self.scale), -1)
        return (x * self.scale[:, None] + self.shift[:, None]).reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Prelu(Layer):
    """Every channel's negative numbers times its slope; slopes (channels,)."""

    slope: Tensor

    def _compute(self, *values: Tensor) -> Tensor:
        x = values[0].reshape(len(values[0]), len(self.slope), -1)
        return torch.where(x < 0, x * self.slope[:, None], x).reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Layer):
    """The maximum or mean of every window; `divisor` 0 divides by the window's size, clipped unless `padded`."""

    kind: str
    image: tuple[int, int, int]
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    padded: bool = True
    divisor: int = 0
    ceil: bool = False

    def _compute(self, *values: Tensor) -> Tensor:
        x = values[0].reshape(-1, *self.image)
        if self.kind == "max":
            found = F.max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation, self.ceil)
        else:
            found = F.avg_pool2d(
                x, self.kernel, self.stride, self.padding, self.ceil, self.padded, self.divisor or None
            )
        return found.reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pad(Layer):
    """Rows and columns of zeros before and behind those of the image."""

    image: tuple[int, int, int]
    before: Pair
    behind: Pair

    def _compute(self, *values: Tensor) -> Tensor:
        (top, left), (below, right) = self.before, self.behind
        return F.pad(values[0].reshape(-1, *self.image), (left, right, top, below)).reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptive(Layer):
    """The maximum or mean of windows that cover the image, as many as the output has."""

    kind: str
    image: tuple[int, int, int]

    def _compute(self, *values: Tensor) -> Tensor:
        x, size = values[0].reshape(-1, *self.image), conv_shape(self.shape)[1:]
        found = F.adaptive_max_pool2d(x, size) if self.kind == "max" else F.adaptive_avg_pool2d(x, size)
        return found.reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Binary(Layer):
    """Two values of one shape, number by number: add, sub or mul."""

    kind: str

    def _compute(self, *values: Tensor) -> Tensor:
        return BINARY[self.kind].torch(*values)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Channelwise(Layer):
    """A value, and for each of its channels one number of another value: add, sub or mul, as in squeeze-and-excite."""

    kind: str

    def _compute(self, *values: Tensor) -> Tensor:
        x = values[0].reshape(-1, *self.shape)
        return BINARY[self.kind].torch(x, values[1].reshape(*x.shape[:2], *[1] * (x.dim() - 2)))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pointwise(Layer):
    """An activation that no layer before it could absorb, or a copy."""

    def _compute(self, *values: Tensor) -> Tensor:
        return values[0].reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Layer):
    """Values concatenated along the channels."""

    def _compute(self, *values: Tensor) -> Tensor:
        return torch.cat([value.flatten(1) for value in values], 1).reshape(-1, *self.shape)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax(Layer):
    """Softmax, or its logarithm, along one axis of the shape."""

    axis: int
    log: bool

    def _compute(self, *values: Tensor) -> Tensor:
        x = values[0].reshape(-1, *self.shape)
        return x.log_softmax(1 + self.axis) if self.log else x.softmax(1 + self.axis)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Layers in computing order. Value 0 is the input, `output` the number of the output, of shape `shape`."""

    layers: tuple[Layer, ...]
    input: Shape
    output: int
    shape: Shape

    @torch.no_grad()
    def compute(self, x: Tensor) -> Tensor:
        """The result of the list by torch, the reference for C. (N, ...) -> (N, ...)."""
        values = {0: x}
        for layer in self.layers:
            values[layer.output] = layer.compute(*(values[number] for number in layer.inputs))
        return values[self.output].reshape(-1, *self.shape)


def conv_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """A shape as channels, rows and columns.

    >>> conv_shape((8, 5)), conv_shape((8, 5, 4))
    ((8, 1, 5), (8, 5, 4))
    """
    channels, *size = shape
    rows, columns = size if len(size) == 2 else (1, math.prod(size))
    return channels, rows, columns


class Operation(NamedTuple):
    """An operation on two numbers in torch, and its sign in C."""

    torch: Callable[[Tensor, Tensor], Tensor]
    c: str


BINARY = {
    "add": Operation(torch.add, "+"),
    "sub": Operation(torch.sub, "-"),
    "mul": Operation(torch.mul, "*"),
}
"""Kind of `Binary` and `Channelwise` -> its operation."""


class Function(NamedTuple):
    """An activation in torch, and as a C expression of `x`, with FIRST and SECOND for its parameters."""

    torch: Callable[[Tensor, float, float], Tensor]
    c: str


ACTIVATIONS = {
    "relu": Function(lambda x, *_: F.relu(x), "x < 0 ? 0 : x"),
    "clamp": Function(lambda x, low, high: x.clamp(low, high), "x < FIRST ? FIRST : x > SECOND ? SECOND : x"),
    "leaky_relu": Function(lambda x, slope, _: F.leaky_relu(x, slope), "x < 0 ? FIRST * x : x"),
    "elu": Function(lambda x, alpha, _: F.elu(x, alpha), "x < 0 ? FIRST * expm1f(x) : x"),
    "gelu": Function(lambda x, *_: F.gelu(x), "0.5f * x * (1 + erff(x * 0.70710678f))"),
    "gelu_tanh": Function(
        lambda x, *_: F.gelu(x, approximate="tanh"),
        "0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)))",
    ),
    "sigmoid": Function(lambda x, *_: x.sigmoid(), "1 / (1 + expf(-x))"),
    "tanh": Function(lambda x, *_: x.tanh(), "tanhf(x)"),
    "silu": Function(lambda x, *_: F.silu(x), "x / (1 + expf(-x))"),
    "softplus": Function(
        lambda x, beta, limit: F.softplus(x, beta, limit), "FIRST * x > SECOND ? x : log1pf(expf(FIRST * x)) / FIRST"
    ),
    "hardswish": Function(lambda x, *_: F.hardswish(x), "x < -3 ? 0 : x > 3 ? x : x * (x + 3) * 0.16666667f"),
    "hardsigmoid": Function(lambda x, *_: F.hardsigmoid(x), "x < -3 ? 0 : x > 3 ? 1 : (x + 3) * 0.16666667f"),
}
"""Activation -> its function."""
