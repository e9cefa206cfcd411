"""Linear layers in a row, with ReLUs between them, computed at once with their remaining weights only.

What goes from one to the next stays as the kernels want it, a row of examples for each unit, and ReLUs and biases are
part of the products. Of a step of LeNet-300-100 at 1 % density the products alone take a tenth; the rest was calls,
copies and what autograd keeps of each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from types import ModuleType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import Function

from oneticket.compact.blocks import Blocks


class Link(NamedTuple):
    """A linear layer of a chain: where its weights are, and whether a ReLU follows."""

    blocks: Blocks
    floor: bool


def product(x: Tensor, links: Sequence[Link], tensors: Sequence[Tensor | None]) -> Tensor:
    """(..., I) to (..., O) through layers in a row, in float32; `tensors`: weights and bias, or None, of each.

    Weights are in the order of `Blocks.place`. ValueError for tensors of another size, and those `taken` refuses.
    """
    inputs = links[0].blocks.inputs
    if not x.dim() or x.shape[-1] != inputs:
        raise ValueError(f"expected (..., {inputs}), got {tuple(x.shape)}")
    x = taken(x, *tensors)
    for (blocks, _), weight, bias in zip(links, tensors[::2], tensors[1::2], strict=True):
        if weight is None or weight.numel() != len(blocks.place) or not weight.is_contiguous():
            raise ValueError(f"expected {len(blocks.place)} weights in a row, got {weight}")
        if bias is not None and bias.shape != (blocks.outputs,):
            raise ValueError(f"expected a bias of {blocks.outputs} numbers, got {tuple(bias.shape)}")
    out = cast("Tensor", _Chain.apply(x if x.dim() == 2 else x.reshape(-1, inputs), links, *tensors))  # type: ignore[no-untyped-call]
    return out if x.dim() == 2 else out.reshape(*x.shape[:-1], links[-1].blocks.outputs)


def taken(x: Tensor, *tensors: Tensor | None) -> Tensor:
    """The input as float32; ValueError unless weights are float32 on the CPU, and the input there and no wider."""
    x = x if x.dtype == torch.float64 else x.float()  # under autocast it may come narrower
    for each in (x, *tensors):  # the kernels read memory as it lies
        if each is not None and not (each.dtype == torch.float32 and each.is_cpu):
            raise ValueError(f"expected float32 on the CPU, got {each.dtype} on {each.device}")
    return x


def once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass whose gradients have no derivative: to ask for one raises RuntimeError.

    Torch's `once_differentiable` lets it be lost in silence where the gradient that comes in is a constant, as in a
    penalty on gradients: what comes from `out.sum()` needs none.
    """

    @wraps(backward)
    def called(ctx: Any, *grads: Tensor) -> Any:
        with torch.no_grad():
            found = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return found
        refuse: Any = torch._C._functions.DelayedError(SECOND, len(found))  # under `create_graph`
        return refuse(*(None if one is None else one.detach().requires_grad_() for one in found))

    return called


SECOND = b"sparse layers have no second derivatives, as a penalty on gradients needs; train the model under `attach`"


class _Chain(Function):
    """Rows (N, I), links, and weights (n,) and biases (O,) or None in turn -> rows (N, O)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, links: Sequence[Link], *tensors: Tensor | None) -> Tensor:
        count, forward, widest = len(x), _kernels().forward, _widest()
        seen = [_turned(x.detach())]  # which may be x itself
        for (blocks, floor), weight, bias in zip(links, tensors[::2], tensors[1::2], strict=True):
            assert weight is not None
            out, constants = _empty(blocks.outputs, count), None if bias is None else bias.contiguous()
            start = 0 if constants is None else constants.data_ptr()
            read = seen[-1].data_ptr()
            forward(blocks.begins, blocks.place, weight.data_ptr(), start, read, out.data_ptr(), count, floor, widest)
            seen.append(out)
        ctx.links = links
        ctx.save_for_backward(*tensors[::2], *(seen if links[-1].floor else seen[:-1]))
        # As a dense layer's lie: noise that is drawn in memory's order is the same, and what follows is as fast.
        return _turned(seen[-1], anew=True)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        links, wanted = ctx.links, ctx.needs_input_grad
        saved = [one.contiguous() for one in ctx.saved_tensors]  # hooks of saved tensors may lay them out otherwise
        weights, seen = saved[: len(links)], saved[len(links) :]
        count, backward, widest = len(grad), _kernels().backward, _widest()
        found: list[Tensor | None] = [None] * (2 * len(links) + 2)
        turned = _turned(grad, anew=links[-1].floor)  # the kernel writes into it
        for number in reversed(range(len(links))):
            (blocks, floor), weight, at = links[number], weights[number], 2 * number + 2
            to_weight = torch.empty_like(weight) if wanted[at] else None
            to_bias = _empty(blocks.outputs) if wanted[at + 1] else None
            more = any(wanted[:at])  # of what lies before this layer
            to_x = _empty(blocks.inputs, count) if more else None
            backward(
                blocks.begins,
                blocks.place,
                weight.data_ptr(),
                seen[number].data_ptr(),
                seen[number + 1].data_ptr() if floor else 0,
                turned.data_ptr(),
                *(0 if one is None else one.data_ptr() for one in (to_weight, to_bias, to_x)),
                blocks.inputs,
                count,
                widest,
            )
            found[at : at + 2] = to_weight, to_bias
            if to_x is None:
                break
            turned = to_x
        else:
            found[0] = turned.t()
        return tuple(found)


def _turned(matrix: Tensor, *, anew: bool = False) -> Tensor:
    """The matrix turned round, in a row; one that lies by column need not be copied, unless asked."""
    there = matrix.t()
    if there.is_contiguous():
        return there.clone() if anew else there
    matrix, made = matrix.contiguous(), _empty(*there.shape)
    _kernels().turned(matrix.data_ptr(), made.data_ptr(), *matrix.shape)
    return made


def _empty(*size: int) -> Tensor:
    """What the kernels write, whatever torch makes by default."""
    return torch.empty(size, dtype=torch.float32, device="cpu")


@cache
def _kernels() -> ModuleType:
    """Numba takes half a second to import: only where a layer is sparse."""
    from oneticket.compact import linear_kernels

    return linear_kernels


@cache
def _widest() -> int:
    """The lanes that are taken at once: as many sums as the processor has registers for."""
    return 128 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 64
