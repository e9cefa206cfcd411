"""Flip and shift of whole batches, on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def roll(count: int, generator: torch.Generator) -> torch.Tensor:
    """Random int64 numbers (count, 3): what each image draws for its flip and its vertical and horizontal shift."""
    return torch.randint(1 << 62, (count, 3), generator=generator)


def augment(images: torch.Tensor, dice: torch.Tensor, *, flip: bool, crop: int) -> torch.Tensor:
    """Images (N, C, H, W) mirrored and shifted as their dice (N, 3) say; nothing is drawn and the host never waits.

    `flip`: mirrored left to right with probability 1/2. `crop`: padded with `crop` zeros on all sides, then cut back at
    an offset that is uniform in 0..2*crop per axis (signals, H = 1: along W only).

    >>> augment(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[1, 0, 0]]), flip=True, crop=0)
    tensor([[[[3, 2, 1]]]])
    """
    if not flip and not crop:
        return images
    channels, height, width = images.shape[1:]
    high = crop if height > 1 else 0
    padded = F.pad(images, (crop, crop, high, high))
    rows = torch.arange(height, device=images.device) + dice[:, 1:2] % (2 * high + 1)
    columns = torch.arange(width, device=images.device)
    if flip:
        columns = torch.where(dice[:, :1] % 2 == 1, width - 1 - columns, columns)
    columns = columns + dice[:, 2:] % (2 * crop + 1)
    # One gather for both, by position in the flattened image: twice as fast on a CPU as a crop and then a flip.
    at = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).flatten(1)
    return padded.flatten(2).gather(2, at[:, None].expand(-1, channels, -1)).view_as(images)
