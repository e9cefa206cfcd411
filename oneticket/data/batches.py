"""Batches: what the network sees at each step, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from oneticket.data.augment import augment, roll
from oneticket.data.facts import Facts
from oneticket.data.load import Data, Images
from oneticket.data.stream import Stream
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
    plan = ((rows.chunk(ranks)[rank], dice.chunk(ranks)[rank]) for rows, dice in whole)
    if isinstance(data.train, Stream):
        orders = ((rows.tolist(), dice[:, 0].tolist()) for rows, dice in plan)
        yield from _normalised(data, data.train.read(orders))
    else:
        yield from _normalised(data, _augmented(data, data.train, plan))


def test_batches(data: Data, batch: int = 512) -> Iterator[Batch]:  # noqa: PT028
    """All test images once, in order, as they are but for normalisation; the last batch may be short."""
    if isinstance(data.test, Stream):
        yield from _normalised(data, data.test.whole(batch))
    else:
        parts = zip(torch.split(data.test.images, batch), torch.split(data.test.labels, batch), strict=True)
        yield from _normalised(data, parts)


test_batches.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _plan(data: Data, batch: int, streams: Streams, steps: range) -> Iterator[Batch]:
    """Positions and dice of each step's images, moved to the device once per epoch."""
    count, length = len(data.train), per_epoch(data, batch)
    device = data.train.labels.device
    epoch = None
    for step in steps:
        if step // length != epoch:
            epoch = step // length
            order = torch.randperm(count, generator=streams.generator("order", epoch)).to(device)
            dice = roll(count, streams.generator("augment", epoch)).to(device)
        at = step % length * batch
        yield order[at : at + batch], dice[at : at + batch]


def _augmented(data: Data, part: Images, plan: Iterable[Batch]) -> Iterator[Batch]:
    for rows, dice in plan:
        images = augment(part.images.index_select(0, rows), dice, flip=data.flip, crop=data.crop)
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
