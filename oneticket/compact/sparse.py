"""A layer that stores and computes with its remaining weights only: a sparse linear or convolution layer.

Its parameter `weight` is the vector of remaining weights, so the optimizer's work and memory shrink with the density.
The products are those of `linear_kernels` and `tiles`: on a CPU, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from oneticket.compact.blocks import Blocks
from oneticket.compact.chain import Link, once, product, taken
from oneticket.compact.pattern import Pattern, Product, picked
from oneticket.compact.room import Room

Array = np.ndarray[Any, Any]


def fits(layer: nn.Module) -> bool:
    """Whether a layer has a sparse form: float32 on the CPU; of convolutions those without groups and dilation."""
    if type(layer) not in (nn.Linear, nn.Conv2d):
        return False
    weight = cast("Tensor", layer.weight)
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    if isinstance(layer, nn.Linear):
        return True
    assert isinstance(layer, nn.Conv2d)
    plain = layer.dilation == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
    if not plain or isinstance(layer.padding, str):
        return False
    return all(pad < size for pad, size in zip(layer.padding, layer.kernel_size, strict=True))


@final
class Sparse(nn.Module):
    """The sparse form of a layer that `fits`; its weights are in the order of `remaining.flatten().nonzero()`.

    `remaining`: bool, of the weight's shape.

    >>> layer = nn.Linear(3, 2, bias=False)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.0, 0, 2], [0, 3, 0]]))
    >>> sparse = Sparse(layer, layer.weight != 0)
    >>> sparse.weight.tolist(), sparse(torch.ones(1, 3)).tolist()
    ([1.0, 2.0, 3.0], [[3.0, 3.0]])
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, remaining: Tensor, room: Room | None = None) -> None:
        super().__init__()
        assert fits(layer), layer
        self.weight = nn.Parameter(picked(layer.weight.detach(), remaining), requires_grad=layer.weight.requires_grad)
        self.bias = None
        if layer.bias is not None:
            self.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
        self.linear, self.room = isinstance(layer, nn.Linear), room or Room()
        self.pattern: Pattern | Blocks
        if isinstance(layer, nn.Linear):
            self.pattern = Blocks.of(remaining)
        else:
            padding, stride = cast("tuple[tuple[int, int], tuple[int, int]]", (layer.padding, layer.stride))
            self.pattern = Pattern.of(remaining, padding, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O), or (N, C, H, W) to (N, O, H', W'); ValueError for another size or dtype."""
        if isinstance(self.pattern, Blocks):
            return product(x, (Link(self.pattern, floor=False),), (self.weight, self.bias))
        x = taken(x, self.weight, self.bias)
        room = self.room if torch.is_grad_enabled() else Room()  # what is only measured, often larger, is not kept
        inputs, kernel = self.pattern.shape[1], self.pattern.shape[2:]
        padded = [size + 2 * pad for size, pad in zip(x.shape[-2:], self.pattern.padding, strict=True)]
        if x.dim() != 4 or x.shape[1] != inputs or padded[0] < kernel[0] or padded[1] < kernel[1]:
            raise ValueError(f"expected (N, {inputs}, H, W), no smaller than the kernel, got {tuple(x.shape)}")
        for name, one, size in (
            ("weight", self.weight, len(self.pattern.by_output.place)),
            ("bias", self.bias, self.pattern.shape[0]),
        ):  # the kernels do not look where memory ends
            if one is not None and one.shape != (size,):
                raise ValueError(f"expected a {name} of {size} numbers, got {tuple(one.shape)}")
        return _convolution(x, self.weight, self.bias, self.pattern, room)

    def extra_repr(self) -> str:
        """For `print(network)`."""
        return f"{len(self.weight)} remaining weights of {self.pattern.shape}"


class _Convolution(Function):
    """Images (N, C, H, W), remaining weights (n,), bias (O,) or None -> images of O channels, in channels_last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pattern: Pattern, room: Room) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.pattern, ctx.room = pattern, room
        ctx.save_for_backward(weight, x)
        out = _images(room, len(x), pattern.shape[0], *pattern.size(x.shape[2], x.shape[3]))
        start = weight.new_zeros(out.shape[1]) if bias is None else bias
        _convolve(pattern.forward(x.shape[2], x.shape[3], len(x)), weight, start, x, out, room)
        return out

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight, seen), pattern, room = ctx.saved_tensors, ctx.pattern, ctx.room
        seen = seen.contiguous(memory_format=torch.channels_last)  # hooks of saved tensors may lay it out otherwise
        to_x, to_weight, to_bias, *_ = ctx.needs_input_grad
        grad = grad.contiguous(memory_format=torch.channels_last)
        size, x, remaining = (*seen.shape[2:], len(seen)), None, None
        if to_x:
            x, start = _images(room, *seen.shape), weight.new_zeros(pattern.shape[1])
            turned, products = weight.index_select(0, pattern.by_input[1]), pattern.to_input(*size)
            if len(products) < math.prod(pattern.stride):  # some inputs reach no output
                x.zero_()
            for product in products:
                _convolve(product, turned, start, grad, x, room)
        if to_weight:
            remaining = torch.zeros_like(weight)
            _gradients(pattern.forward(*size), seen, grad, remaining, room)
        return x, remaining, grad.sum((0, 2, 3)) if to_bias else None, None, None


def _convolve(product: Product, value: Tensor, start: Tensor, x: Tensor, out: Tensor, room: Room) -> None:
    """Write one product into its pixels of `out`."""
    window, lanes, begins, place = product
    given = (begins, window.offsets(place, lanes), value.detach().numpy(), start.detach().numpy())
    read = (_pixels(x), window.read(lanes), window.column, room.take((window.room(lanes),)).numpy())
    _kernels().convolve(*given, *read, _pixels(out).reshape(-1), window.written(*out.shape[1:]))


def _gradients(product: Product, x: Tensor, grad: Tensor, out: Tensor, room: Room) -> None:
    """Add the gradients of remaining weights to `out`."""
    (window, lanes, begins, place), pixels = product, grad.shape[3]
    given = (begins, window.offsets(place, lanes), _pixels(x), window.read(lanes), window.column)
    laid, turned = (room.take((size,)).numpy() for size in (window.room(lanes), grad.shape[1] * pixels * lanes))
    plain = np.arange(pixels, dtype=np.int32)
    _kernels().gradients(*given, laid, _pixels(grad), plain, turned, out.numpy())


def _images(room: Room, count: int, channels: int, *size: int) -> Tensor:
    """Images (N, C, H, W) in channels_last, of any values, in memory of a room.

    No view of another tensor: what comes next may change it in place.
    """
    last, out = room.take((count, *size, channels)), torch.empty(0, dtype=torch.float32, device="cpu")
    return out.set_(last.untyped_storage(), 0, (count, channels, *size), last.permute(0, 3, 1, 2).stride())


def _pixels(x: Tensor) -> Array:
    return x.detach().permute(0, 2, 3, 1).numpy()


_convolution = cast("Callable[[Tensor, Tensor, Tensor | None, Pattern, Room], Tensor]", _Convolution.apply)


@cache
def _kernels() -> ModuleType:
    """Numba takes half a second to import: only where a layer is sparse."""
    from oneticket.compact import tiles

    return tiles
