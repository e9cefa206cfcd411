"""Mean and deviation per channel or number, exact and the same on every machine for 8-bit images."""

from __future__ import annotations

import torch

Moments = tuple[tuple[float, ...], tuple[float, ...]]


def histogram(images: torch.Tensor) -> torch.Tensor:
    """Counts int64 (C, 256) of the values of uint8 images (N, C, H, W)."""
    return torch.stack([images[:, channel].flatten().bincount(minlength=256) for channel in range(images.shape[1])])


def moments(inputs: torch.Tensor) -> Moments:
    """Mean and standard deviation of each channel of (N, C, ...), or each number of (N, F).

    uint8 counts in units of 0..1, float32 as it is. What does not vary has deviation 1, so that dividing by it is safe.

    >>> moments(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    if inputs.dtype == torch.uint8:
        return from_histogram(histogram(inputs))
    # numpy sums in one order, torch in another with each number of threads.
    flat = inputs.double().transpose(0, 1).flatten(1).numpy()
    varies = flat.min(1) != flat.max(1)  # a sum of equal numbers is rounded, and would leave some deviation
    return _plain(torch.from_numpy(flat.mean(1)), torch.from_numpy(flat.var(1) * varies))


def from_histogram(counts: torch.Tensor) -> Moments:
    """The moments of 8-bit images, given the counts (C, 256) of their values."""
    share = counts.double() / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64, device="cpu") / 255
    mean = share @ values
    return _plain(mean, (share * (values - mean[:, None]) ** 2).sum(1))


def _plain(mean: torch.Tensor, variance: torch.Tensor) -> Moments:
    std = variance.sqrt()
    return tuple(mean.tolist()), tuple(torch.where(std > 0, std, torch.ones_like(std)).tolist())
