"""A layer that stores and computes with its remaining weights only: a sparse linear or convolution layer.

Its parameter `weight` is the vector of remaining weights, so the optimizer's work and memory shrink with the density.
The products are those of `kernels`: on a CPU, in float32, with stride 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from oneticket.compact.blocks import Blocks
from oneticket.compact.chain import Link, product
from oneticket.compact.pattern import Entries, IndexRuns, Pattern, picked
from oneticket.compact.room import Room


def fits(layer: nn.Module) -> bool:
    """Whether a layer has a sparse form: float32 on the CPU; of convolutions those with stride 1 and without groups."""
    if type(layer) not in (nn.Linear, nn.Conv2d):
        return False
    weight = cast("Tensor", layer.weight)
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return False
    if isinstance(layer, nn.Linear):
        return True
    assert isinstance(layer, nn.Conv2d)
    plain = layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
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
            self.pattern = Pattern.of(remaining, cast("tuple[int, int]", layer.padding))

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O), or (N, C, H, W) to (N, O, H', W'); ValueError for inputs of another size."""
        x = x.float()  # under autocast it may come narrower
        if isinstance(self.pattern, Blocks):
            return product(x, (Link(self.pattern, floor=False),), (self.weight, self.bias))
        room = self.room if torch.is_grad_enabled() else Room()  # what is only measured, often larger, is not kept
        inputs, kernel = self.pattern.shape[1], self.pattern.shape[2:]
        padded = [size + 2 * pad for size, pad in zip(x.shape[-2:], self.pattern.padding, strict=True)]
        if x.dim() != 4 or x.shape[1] != inputs or padded[0] < kernel[0] or padded[1] < kernel[1]:
            raise ValueError(f"expected (N, {inputs}, H, W), no smaller than the kernel, got {tuple(x.shape)}")
        return _product(x, self.weight, self.bias, self.pattern, room)

    def extra_repr(self) -> str:
        """For `print(network)`."""
        return f"{len(self.weight)} remaining weights of {self.pattern.shape}"


class _Product(Function):
    """Images (N, C, H, W) or rows (N, C), remaining weights (n,), bias (O,) or None -> images or rows of O channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pattern: Pattern, room: Room) -> Tensor:
        size = x.shape[2:] or (1, 1)
        plan = pattern.plan(size[0], size[1], len(x))
        laid = _lay(x, plan.x_pad, room)
        ctx.plan, ctx.pattern, ctx.shape, ctx.room = plan, pattern, x.shape, room
        ctx.save_for_backward(weight, laid)  # which may be x itself
        start = weight.new_zeros(pattern.shape[0]) if bias is None else bias
        size = plan.y_size
        return _products(pattern.by_output, plan.forward, weight, start, laid, size, None if x.dim() == 2 else room)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight, seen), plan, pattern, shape = ctx.saved_tensors, ctx.plan, ctx.pattern, ctx.shape
        to_x, to_weight, to_bias, *_ = ctx.needs_input_grad
        laid = _lay(grad, plan.y_pad, ctx.room)
        x = remaining = bias = None
        if to_x:
            entries, order = pattern.by_input
            start, room = weight.new_zeros(shape[1]), None if len(shape) == 2 else ctx.room
            turned = weight.index_select(0, order)
            x = _products(entries, plan.to_input, turned, start, laid, shape[2:] or (1, 1), room)
        if to_weight:
            remaining = torch.zeros_like(weight)
            table, x_at, y_at, plane, run = plan.to_weight
            flat = (seen.view(-1).numpy(), x_at, laid.view(-1).numpy(), y_at)
            _kernels().dots(*pattern.by_output, table, *flat, plane, run, len(grad), remaining.numpy())
        if to_bias:
            bias = laid.flatten(1).sum(1)
        return x, remaining, bias, None, None


_product = cast("Callable[[Tensor, Tensor, Tensor | None, Pattern, Room], Tensor]", _Product.apply)


def _products(
    entries: Entries,
    runs: IndexRuns,
    value: Tensor,
    start: Tensor,
    laid: Tensor,
    size: Sequence[int],
    room: Room | None,
) -> Tensor:
    """Images (N, O, H, W) in channels_last, in memory of a room, or rows (N, O) that lie by column, of laid-out planes.

    No view of another tensor: what comes next may change it in place.
    """
    count, channels = laid.shape[-1], len(start)
    table, x_at, y_at, plane, run = runs
    given = (*entries, table, value.detach().numpy(), start.detach().numpy(), laid.view(-1).numpy(), x_at)
    if room is None:
        out = torch.empty_strided((count, channels), (1, count))
        _kernels().products(*given, out.detach().t().view(-1).numpy(), y_at, plane, run, count)
    else:
        last = room.take((count, *size, channels))
        _kernels().images(*given, last.numpy(), run)
        out = torch.empty(0)
        out.set_(last.untyped_storage(), 0, (count, channels, *size), last.permute(0, 3, 1, 2).stride())
    return out


def _lay(x: Tensor, pad: tuple[int, int], room: Room) -> Tensor:
    """Images (N, C, H, W) or rows (N, C) as planes (C, H + 2 pad, W + 2 pad, N) with zero borders."""
    x = x.detach()
    if x.dim() == 2:
        return x.t().contiguous().view(x.shape[1], 1, 1, len(x))
    count, channels, height, width = x.shape
    laid = room.take((channels, height + 2 * pad[0], width + 2 * pad[1], count))
    _kernels().lay(x.permute(0, 2, 3, 1).numpy(), laid.numpy(), *pad)
    return laid


def usable() -> bool:
    """Whether the kernels can be had; numba may be missing, or refuse its surroundings."""
    try:
        _kernels()
    except ImportError:
        return False
    return True


@cache
def _kernels() -> ModuleType:
    """Numba takes half a second to import: only where a layer is sparse."""
    from oneticket.compact import kernels

    return kernels
