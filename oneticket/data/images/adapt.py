"""Images to another shape: channels and size, as batched tensor operations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from oneticket.ground.errors import DataError
from oneticket.ground.memory import memory

Shape = tuple[int, int, int]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_CHUNK = 4096


def adapt(images: torch.Tensor, shape: Shape, fit: str) -> torch.Tensor:
    """Images (N, C, H, W) in the shape (C, H, W) asked for, of the same dtype.

    Colour becomes grey by luma weights, grey becomes colour by repetition; `fit` is "resize" (bilinear, antialiased) or
    "pad" (black on all sides). Raises DataError for other channels, for padding to a smaller size, for making images
    of signals, and for more than memory holds.

    >>> adapt(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), (3, 10, 10), "pad").shape
    torch.Size([2, 3, 10, 10])
    """
    channels, height, width = images.shape[1:]
    if (channels, height, width) == shape:
        return images
    if channels != shape[0] and {channels, shape[0]} != {1, 3}:
        raise DataError(f"cannot turn {channels} channels into {shape[0]}; images have 1 or 3")
    if (height == 1) != (shape[1] == 1):
        raise DataError(
            f"cannot turn {height} x {width} into {shape[1]} x {shape[2]}: one is a signal, the other an image"
        )
    if fit == "pad" and (height > shape[1] or width > shape[2]):
        raise DataError(f"cannot pad {height} x {width} to {shape[1]} x {shape[2]}; use fit='resize', or a larger size")
    size, there = len(images) * math.prod(shape) * images.element_size(), memory()
    if there is not None and 2 * size > there:
        raise DataError(
            f"{len(images):,} images of {shape[0]} x {shape[1]} x {shape[2]} would take {2 * size:,} bytes of memory "
            f"while they are made, {there:,} are free here; set a smaller size, or per_class"
        )
    return torch.cat([_one(part, shape, fit) for part in torch.split(images, _CHUNK)])


def _one(images: torch.Tensor, shape: Shape, fit: str) -> torch.Tensor:
    kind = images.dtype
    if images.shape[1] == 3 and shape[0] == 1:
        images = (images.float() * images.new_tensor(_LUMA, dtype=torch.float32).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if images.shape[2:] != shape[1:]:
        images = _pad(images, shape) if fit == "pad" else _resize(images, shape)
    if images.dtype != kind:
        images = images.round_().clamp_(0, 255).to(kind)
    return images.expand(-1, shape[0], -1, -1).contiguous()


def _pad(images: torch.Tensor, shape: Shape) -> torch.Tensor:
    high, wide = shape[1] - images.shape[2], shape[2] - images.shape[3]
    return F.pad(images, (wide // 2, wide - wide // 2, high // 2, high - high // 2))


def _resize(images: torch.Tensor, shape: Shape) -> torch.Tensor:
    return F.interpolate(images.float(), shape[1:], mode="bilinear", antialias=True, align_corners=False)
