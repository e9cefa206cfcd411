"""Flip and shift of whole batches, on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from oneticket.data.images.adapt import Shape


def roll(count: int, generator: torch.Generator) -> torch.Tensor:
    """Random int64 numbers (count, 3): what each image draws for its flip and its vertical and horizontal shift."""
    return torch.randint(1 << 62, (count, 3), generator=generator, device="cpu")


def aim(dice: torch.Tensor, shape: Shape, *, flip: bool, crop: int, within: int | None = None) -> torch.Tensor:
    """What dice (N, 3) mean for images (C, H, W): int64 (N, 2), where in the padded image the cut begins, and 1 if
    it is mirrored.

    `flip`: mirrored left to right with probability 1/2. `crop`: padded with `crop` zeros on all sides, then cut back at
    an offset that is uniform in 0..2*crop per axis (signals, H = 1: along W only). `within`: the padding that there
    is, where it is more than `crop`.

    >>> aim(torch.tensor([[1, 2, 3]]), (1, 28, 28), flip=True, crop=1)
    tensor([[60,  1]])
    """
    padding = crop if within is None else within
    down = _high(shape, padding) - _high(shape, crop) + dice[:, 1] % (2 * _high(shape, crop) + 1)
    across = padding - crop + dice[:, 2] % (2 * crop + 1)
    return torch.stack([down * (shape[2] + 2 * padding) + across, dice[:, 0] % 2 * flip], 1)


def cuts(shape: Shape, *, crop: int, device: torch.device) -> torch.Tensor:
    """The pixels of a cut, upright and mirrored, counted from its beginning in the padded image: int64 (2, H * W)."""
    rows, columns = (torch.arange(size, device=device) for size in shape[1:])
    both = torch.stack([columns, columns.flip(0)])
    return (rows[:, None] * (shape[2] + 2 * crop) + both[:, None]).flatten(1)


def augment(images: torch.Tensor, aims: torch.Tensor, cuts: torch.Tensor, *, crop: int) -> torch.Tensor:
    """Images (N, C, H, W) mirrored and shifted by their aims (N, 2); draws nothing and never waits for the device.

    >>> images, shape = torch.tensor([[[[1, 2, 3]]]]), (1, 1, 3)
    >>> aims = aim(torch.tensor([[1, 0, 0]]), shape, flip=True, crop=0)
    >>> augment(images, aims, cuts(shape, crop=0, device=images.device), crop=0)
    tensor([[[[3, 2, 1]]]])
    """
    channels, height, width = images.shape[1:]
    high = _high((channels, height, width), crop)
    padded = F.pad(images, (crop, crop, high, high)) if crop else images
    # One gather for both, by position in the flattened image: twice as fast on a CPU as a crop and then a flip.
    at = cuts.index_select(0, aims[:, 1]).add_(aims[:, :1])
    return padded.flatten(2).gather(2, at[:, None].expand(-1, channels, -1)).view_as(images)


def _high(shape: Shape, crop: int) -> int:
    """The padding above and below."""
    return crop if shape[1] > 1 else 0
