"""Batches: what the network sees at each step, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

import torch

from oneticket.data.data import Data, Examples
from oneticket.data.facts import per_epoch
from oneticket.data.images.adapt import Shape
from oneticket.data.images.augment import aim, augment, cuts, roll
from oneticket.data.images.stream import Stream
from oneticket.data.joint import order
from oneticket.ground.errors import SpecError
from oneticket.ground.streams import Streams

Batch = tuple[torch.Tensor, torch.Tensor]


def batches(
    data: Data,
    *,
    batch: int,
    streams: Streams,
    start: int,
    stop: int,
    rank: int = 0,
    ranks: int = 1,
    columns: bool = False,
) -> Iterator[Batch]:
    """Training batches of inputs and targets for the absolute steps start, ..., stop - 1.

    Inputs are float32 (B, C, H, W), (B, F) or (B, C, T), (x - mean) / std, or tokens int64 (B, T). Targets are classes
    int64 (B,), numbers float32 (B, K) scaled likewise, tokens int64 (B, T), or as given.

    Step s lies in epoch e = s // per_epoch. An epoch's order comes from the stream ("order", e), its flips and crops
    from ("augment", e). A batch therefore depends on nothing before it, and a resumed run sees the same, bit for bit.

    With `columns`, bytes on the CPU are given in memory that lies by column, for networks that read it so.

    Of several ranks each gets its share, an equal part of every batch; SpecError if the batch has no such parts.

    >>> from oneticket.data.load import load
    >>> from oneticket.data.spec import DataSpec
    >>> data, streams = load(DataSpec(name="digits")), Streams(root=0, replicate=0)
    >>> [x.shape for x, y in batches(data, batch=64, streams=streams, start=5, stop=6)]
    [torch.Size([64, 1, 8, 8])]
    """
    if (size := min(batch, len(data.train))) % ranks:
        raise SpecError(f"training.batch: expected a multiple of the {ranks} ranks that share each batch, got {size}")
    plan = _plan(data, batch, streams, range(start, stop))
    if ranks > 1:
        plan = ((rows.chunk(ranks)[rank], draws.chunk(ranks)[rank]) for rows, draws in plan)
    if isinstance(data.train, Examples) and _once(data, data.train, (stop - start) * batch):
        ((inputs, targets),) = _normalised(data, [(data.train.inputs, _scaled(data, data.train.targets))])
        for rows, _ in plan:
            yield inputs.index_select(0, rows), targets.index_select(0, rows)
    elif isinstance(data.train, Stream):
        orders = ((rows.tolist(), draws.tolist()) for rows, draws in plan)
        yield from _normalised(data, data.train.read(orders, pinned=data.device.type == "cuda"), columns)
    else:
        yield from _normalised(data, _augmented(data, data.train, plan), columns)


def test_batches(data: Data, batch: int | None = None, *, columns: bool = False) -> Iterator[Batch]:  # noqa: PT028
    """All test examples once, in order, inputs as in training but for flips and crops; the last batch may be short.

    Targets that are numbers are in their own unit. `columns`: as for `batches`.

    Batches are small on a CPU unless the size is given: what a convolution makes of 128 images still fits into a cache,
    and ResNet-20 takes half the time that it takes with 512.
    """
    batch = batch or (128 if data.device.type == "cpu" else 1024)
    if isinstance(data.test, Stream):
        yield from _normalised(data, data.test.whole(batch, pinned=data.device.type == "cuda"), columns)
    else:
        parts = zip(torch.split(data.test.inputs, batch), torch.split(data.test.targets, batch), strict=True)
        yield from _normalised(data, parts, columns)


test_batches.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _plan(data: Data, batch: int, streams: Streams, steps: range) -> Iterator[Batch]:
    """Positions of each step's examples and what they draw, moved to the device once per epoch."""
    length, device = per_epoch(data, batch), data.train.targets.device
    epoch = None
    for step in steps:
        if step // length != epoch:
            epoch = step // length
            rows = order(data, streams.generator("order", epoch))
            draws = _moved(_draws(data, rows, streams.generator("augment", epoch)), device)
            rows = _moved(rows, device)
        at = step % length * batch
        yield rows[at : at + batch], draws if draws.dim() > 1 and not draws.shape[1] else draws[at : at + batch]


def _draws(data: Data, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One row for each image of an epoch: the seed of its random crop (streams), or its aim, or nothing."""
    count = len(data.train)
    if isinstance(data.train, Stream):
        return roll(count, generator)[:, 0]
    if not data.flip and not data.crop:
        return torch.empty(count, 0, device="cpu")
    dice, shape = roll(count, generator), _image(data)
    if not data.members:
        return aim(dice, shape, flip=data.flip, crop=data.crop)
    ends = torch.tensor([*accumulate(member.examples for member in data.members)], device="cpu")
    each = [aim(dice, shape, flip=member.flip, crop=member.crop, within=data.crop) for member in data.members]
    return torch.stack(each)[torch.bucketize(rows, ends, right=True), torch.arange(count, device="cpu")]


def _augmented(data: Data, part: Examples, plan: Iterable[Batch]) -> Iterator[Batch]:
    """The examples of each step: images flipped and shifted, numbers as targets scaled."""
    moved = data.flip or data.crop
    cut = cuts(_image(data), crop=data.crop, device=part.inputs.device) if moved else None
    for rows, aims in plan:
        inputs, targets = part.inputs.index_select(0, rows), part.targets.index_select(0, rows)
        if cut is not None:
            inputs = augment(inputs, aims, cut, crop=data.crop)
        yield inputs, _scaled(data, targets)


def _scaled(data: Data, targets: torch.Tensor) -> torch.Tensor:
    return targets if data.scale is None else data.scale.to(targets)


def _once(data: Data, part: Examples, wanted: int) -> bool:
    """Whether the set is normalised whole, which gives the same bits: where it is small, and every example is wanted.

    For batches of 64 images of 8 x 8 that is half of what a batch costs.
    """
    moved = data.flip or data.crop
    return not moved and data.inputs.kind != "tokens" and part.inputs.numel() <= SMALL and wanted >= len(part)


def _normalised(data: Data, found: Iterable[Batch], columns: bool = False) -> Iterator[Batch]:
    """(x - mean) / std per channel or number, on the device, by each example's own set; tokens as they are."""
    if data.inputs.kind == "tokens":
        for inputs, targets in found:
            yield inputs.to(data.device, non_blocking=True), targets.to(data.device, non_blocking=True)
        return
    floats = isinstance(data.train, Examples) and data.train.inputs.is_floating_point()
    units, row = 1.0 if floats else 255.0, (len(data.members) or 1, -1, *[1] * (len(data.inputs.shape) - 1))
    mean = torch.tensor(data.mean, dtype=torch.float64, device="cpu").mul(units).float().view(row).to(data.device)
    rate = (
        torch.tensor(data.std, dtype=torch.float64, device="cpu")
        .mul(units)
        .reciprocal()
        .float()
        .view(row)
        .to(data.device)
    )
    ends = torch.tensor([*accumulate(member.outputs for member in data.members)], device=data.device)
    if columns and not data.members and data.device.type == "cpu":
        yield from _by_column(data, found, mean, rate)
        return
    for inputs, targets in found:
        x, y = inputs.to(data.device, non_blocking=True), targets.to(data.device, non_blocking=True)
        if data.members:
            own = torch.bucketize(y, ends, right=True)
            yield x.sub(mean[own]).mul_(rate[own]), y
        else:
            yield x.sub(mean).mul_(rate), y


def _by_column(data: Data, found: Iterable[Batch], mean: torch.Tensor, rate: torch.Tensor) -> Iterator[Batch]:
    from oneticket.data.columns import scaled  # numba, which the network has loaded

    each = [one.expand(1, *data.inputs.shape).flatten().contiguous() for one in (mean, rate)]
    for x, y in found:
        yield scaled(x, *each) if x.dtype == torch.uint8 else x.sub(mean).mul_(rate), y


def _image(data: Data) -> Shape:
    channels, height, width = data.inputs.shape
    return channels, height, width


def _moved(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On the device, without waiting for what it is at."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


SMALL = 1 << 20
"""Numbers of a set that is normalised whole; 4 MB."""
