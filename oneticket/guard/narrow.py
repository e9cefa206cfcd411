"""Narrow strided convolutions: where oneDNN writes past its memory, and how training avoids it.

The weight gradient of a 1 x 1 convolution with a stride above 1 and few input channels, in the channels_last layout,
writes past its workspace: uxlfoundation/oneDNN#6035. The process aborts, hangs, or silently gets wrong gradients. Only
this file contains the rule.

Observed with torch 2.13 and 2.14.1: with AVX2 for fewer than 8 channels; with AVX-512 for fewer than 16, in float32 (by
oneDNN's source in bfloat16 too), where a plane is cut into parts, as two threads or large images do. It takes no
padding and one group; the layout of the images is enough, or that of the weight. Transposed convolutions do it with few
output channels.

Every s-th pixel with stride 1 is the same convolution. With AVX-512 its output and gradients have the same bits, for
batches of 16 or more; below, torch takes another product, whose rounding differs.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode

BLOCK = 16
"""Channels that the kernel takes at once with AVX-512; 8 with AVX2."""


def faulty(kernel: Sequence[int], channels: int, stride: Size, padding: Size | str = 0, groups: int = 1) -> bool:
    """Whether the weight gradient of such a convolution may write past its memory, on some CPU in some layout.

    `channels`: those of the input, or of a transposed convolution's output.

    >>> faulty((1, 1), 4, stride=2), faulty((1, 1), 16, stride=2), faulty((1, 1), 4, stride=1), faulty((3, 3), 4, 2)
    (True, False, False, False)
    """
    strided, padded = max(_pair(stride)) > 1, any(_pair(0 if isinstance(padding, str) else padding))
    return [*kernel] == [1, 1] and channels < BLOCK and groups == 1 and strided and not padded


def sliced(model: nn.Module) -> AbstractContextManager[object]:
    """Within it, forward and backward passes of a model reach no faulty kernel; the layout stays as it is.

    >>> layer = nn.Conv2d(4, 8, 1, stride=2).to(memory_format=torch.channels_last)
    >>> with sliced(layer):
    ...     layer(torch.ones(2, 4, 6, 6)).sum().backward()
    >>> layer.weight.grad.unique()
    tensor([18.])
    """
    kernels = (weight for weight in model.parameters() if weight.dim() > 3)  # stacked ones have a dimension more
    convolves = any(weight.device.type == "cpu" for weight in kernels)
    return _Sliced() if convolves else nullcontext()


def warn(model: nn.Module) -> None:
    """Warn once of layers whose weight gradient may be computed by the faulty kernel, in a loop of the user's.

    At once if a weight is in channels_last. Otherwise the first training pass shows whether images are in that layout.
    """
    found = {name: layer for name, layer in model.named_modules() if layer not in _TOLD and _trains_faulty(layer)}
    _TOLD.update(found.values())
    if any(_channels_last(weight) for layer in found.values() for weight in layer.parameters()):
        _say([*found])
    elif found:
        next(iter(found.values())).register_forward_pre_hook(partial(_look, [*found]))


class _Sliced(TorchFunctionMode):
    """Replaces every call of a faulty convolution by its sliced form."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.backward:
            with self:  # a mode is off in its own calls, and forward passes may be computed again in this one
                return _backward(*args, **(kwargs or {}))
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def _backward(
    loss: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """`Tensor.backward` without its own look at modes, which would turn this one off again."""
    gradient = torch.ones_like(loss) if gradient is None else gradient
    keep, leaves = create_graph if retain_graph is None else retain_graph, tuple(inputs or ())
    engine = {"allow_unreachable": True, "accumulate_grad": True}
    _engine_run_backward((loss,), (gradient,), keep, create_graph, leaves, **engine)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    if _at_risk(weight, stride, padding, groups):
        high, wide = _pair(stride)
        return torch.conv2d(input[..., ::high, ::wide], weight, bias)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    if not _at_risk(weight, stride, padding, groups):
        return torch.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    pixels, steps = torch.conv_transpose2d(input, weight), _pair(stride)
    sizes = zip(pixels.shape[-2:], steps, _pair(output_padding), strict=True)
    out = pixels.new_zeros(*pixels.shape[:-2], *((size - 1) * step + 1 + more for size, step, more in sizes))
    out[..., :: steps[0], :: steps[1]] = pixels
    return out if bias is None else out + bias[:, None, None]


def _at_risk(weight: Tensor, stride: Size, padding: Size | str, groups: int) -> bool:
    return weight.device.type == "cpu" and faulty(weight.shape[2:], weight.shape[1], stride, padding, groups)


def _trains_faulty(layer: nn.Module) -> bool:
    """Whether a layer trains its weight, on a CPU, as `faulty` says; by its settings, since weights may be lazy."""
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return False
    channels = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.out_channels
    padding = 0 if layer.padding_mode != "zeros" else layer.padding
    if not channels or not faulty(layer.kernel_size, channels, layer.stride, padding, layer.groups):
        return False
    return any(weight.requires_grad and weight.device.type == "cpu" for weight in layer.parameters())


def _look(names: Collection[str], layer: nn.Module, inputs: Sequence[object]) -> None:
    """Warn if these images may reach the faulty kernel; one training pass is checked."""
    if not torch.is_grad_enabled():
        return
    for number, hook in [*layer._forward_pre_hooks.items()]:
        if isinstance(hook, partial) and hook.func is _look:
            del layer._forward_pre_hooks[number]
    if inputs and isinstance(inputs[0], Tensor) and _channels_last(inputs[0]):
        _say(names)


def _say(names: Collection[str]) -> None:
    layers = ", ".join(name or "the model" for name in names)
    warnings.warn(
        f"weight gradients of {layers} may be wrong, or the process may die, without any other word: on a CPU, in the "
        "channels_last layout, torch computes those of 1 x 1 convolutions with a stride above 1 and fewer than "
        f"{BLOCK} channels by a faulty kernel (uxlfoundation/oneDNN#6035). Train in the default layout; these two "
        "lines do it:\n"
        "    model.to(memory_format=torch.contiguous_format)\n"
        "    output = model(images.contiguous())",
        stacklevel=4,
    )


def _channels_last(tensor: Tensor) -> bool:
    """By the strides, as torch decides it; `is_contiguous` does not distinguish the layouts of 1 x 1 kernels."""
    if tensor.dim() != 4:
        return False
    least = 0
    for axis in (1, 3, 2, 0):
        if tensor.stride(axis) < least or (axis == 0 and least == tensor.stride(1)):
            return False
        least = tensor.stride(axis) * max(tensor.shape[axis], 1)
    return True


def _pair(size: Size) -> list[int]:
    sizes = [size] if isinstance(size, int) else [*size]
    return [*sizes, *sizes][:2]


Size = int | Sequence[int]

_INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.conv2d: _conv2d,
    torch.conv_transpose2d: _conv_transpose2d,
}

_TOLD: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Layers of which was warned, or that are being looked at."""
