"""Batches: what the network sees at each step, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from oneticket.data.facts import Facts
from oneticket.data.images.augment import aim, augment, cuts, roll
from oneticket.data.images.stream import Stream
from oneticket.data.load import Data, Images
from oneticket.ground.errors import SpecError
from oneticket.ground.streams import Streams

Batch = tuple[torch.Tensor, torch.Tensor]


def per_epoch(data: Data | Facts, batch: int) -> int:
    """Training steps in an epoch: full batches only, or one short batch if the set has fewer images than one.

    Raises SpecError for a batch size below 1.
    """
    if batch < 1:
        raise SpecError(f"expected a batch size of at least 1, got {batch}")
    return max(1, (data.images if isinstance(data, Facts) else len(data.train)) // batch)


def batches(
    data: Data, *, batch: int, streams: Streams, start: int, stop: int, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    """Training batches for the absolute steps start, ..., stop - 1: x float32 (B, C, H, W) normalised, y int64 (B,).

    Step s lies in epoch e = s // per_epoch. An epoch's order comes from the stream ("order", e), its flips and crops
    from ("augment", e). A batch therefore depends on nothing before it, and a resumed run sees the same, bit for bit.

    Of several ranks each gets its share, an equal part of every batch; SpecError if the batch has no such parts.

    >>> from oneticket.data.load import load
    >>> from oneticket.data.spec import DataSpec
    >>> data, streams = load(DataSpec(name="digits")), Streams(root=0, replicate=0)
    >>> [x.shape for x, y in batches(data, batch=64, streams=streams, start=5, stop=6)]
    [torch.Size([64, 1, 8, 8])]
    """
    if (size := min(batch, len(data.train))) % ranks:
        raise SpecError(f"training.batch: expected a multiple of the {ranks} ranks that share each batch, got {size}")
    whole = _plan(data, batch, streams, range(start, stop))
    plan = ((rows.chunk(ranks)[rank], draws.chunk(ranks)[rank]) for rows, draws in whole)
    if isinstance(data.train, Stream):
        orders = ((rows.tolist(), draws.tolist()) for rows, draws in plan)
        yield from _normalised(data, data.train.read(orders, pinned=data.device.type == "cuda"))
    else:
        yield from _normalised(data, _augmented(data, data.train, plan))


def test_batches(data: Data, batch: int | None = None) -> Iterator[Batch]:  # noqa: PT028
    """All test images once, in order, as they are but for normalisation; the last batch may be short.

    Batches are small on a CPU unless the size is given: what a convolution makes of 128 images still fits into a cache,
    and ResNet-20 takes half the time that it takes with 512.
    """
    batch = batch or (128 if data.device.type == "cpu" else 1024)
    if isinstance(data.test, Stream):
        yield from _normalised(data, data.test.whole(batch, pinned=data.device.type == "cuda"))
    else:
        parts = zip(torch.split(data.test.images, batch), torch.split(data.test.labels, batch), strict=True)
        yield from _normalised(data, parts)


test_batches.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _plan(data: Data, batch: int, streams: Streams, steps: range) -> Iterator[Batch]:
    """Positions of each step's images and what they draw, moved to the device once per epoch."""
    length, device = per_epoch(data, batch), data.train.labels.device
    epoch = None
    for step in steps:
        if step // length != epoch:
            epoch = step // length
            order = _moved(torch.randperm(len(data.train), generator=streams.generator("order", epoch)), device)
            draws = _moved(_draws(data, streams.generator("augment", epoch)), device)
        at = step % length * batch
        yield order[at : at + batch], draws[at : at + batch]


def _draws(data: Data, generator: torch.Generator) -> torch.Tensor:
    """One row for each image: the seed of its random crop (streams), or its aim, or nothing."""
    count = len(data.train)
    if isinstance(data.train, Stream):
        return roll(count, generator)[:, 0]
    if not data.flip and not data.crop:
        return torch.empty(count, 0)
    return aim(roll(count, generator), data.shape, flip=data.flip, crop=data.crop)


def _augmented(data: Data, part: Images, plan: Iterable[Batch]) -> Iterator[Batch]:
    cut = cuts(data.shape, crop=data.crop, device=part.images.device)
    for rows, aims in plan:
        images = part.images.index_select(0, rows)
        if data.flip or data.crop:
            images = augment(images, aims, cut, crop=data.crop)
        yield images, part.labels.index_select(0, rows)


def _normalised(data: Data, found: Iterable[Batch]) -> Iterator[Batch]:
    """(x - mean) / std per channel, on the device."""
    floats = isinstance(data.train, Images) and data.train.images.is_floating_point()
    units = 1.0 if floats else 255.0
    mean = torch.tensor(data.mean, dtype=torch.float64).mul(units).float().view(1, -1, 1, 1).to(data.device)
    rate = torch.tensor(data.std, dtype=torch.float64).mul(units).reciprocal().float().view(1, -1, 1, 1).to(data.device)
    for images, labels in found:
        x = images.to(data.device, non_blocking=True).sub(mean).mul_(rate)
        yield x, labels.to(data.device, non_blocking=True)


def _moved(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On the device, without waiting for what it is at."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
