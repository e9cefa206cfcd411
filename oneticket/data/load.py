"""Loading: a spec becomes training and test images, ready to be batched."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from oneticket.data.cache import Made, cached
from oneticket.data.facts import Facts
from oneticket.data.find import find
from oneticket.data.images.adapt import Shape, adapt
from oneticket.data.images.decode import stack
from oneticket.data.images.moments import Moments, from_histogram, histogram, moments
from oneticket.data.images.stream import Stream
from oneticket.data.reading import Reading
from oneticket.data.sources import DataSource, Split, check_classes
from oneticket.data.spec import USUAL, DataSpec
from oneticket.data.subset import Ints, choose
from oneticket.ground.brief import brief
from oneticket.ground.canon import digest
from oneticket.ground.errors import DataError
from oneticket.ground.extras import naming_extras

_SIDE = 224  # of streamed images, where nothing else is asked for
_SAMPLE = 2048  # training images that the moments of a streamed set are taken from


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images uint8 or float32 (N, C, H, W) and labels int64 (N,), on one device."""

    images: torch.Tensor
    labels: torch.Tensor

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A loaded set: its parts, class names, image shape (C, H, W), and the training part's moments per channel.

    `reading` says in one line how the whole set was read: which folder became which part, and what was left out.
    `mean` and `std` are in units of 0..1 for 8-bit images, else in the set's own. `digest` changes with any pixel,
    label or selection (of streamed sets: with any file). `flip` and `crop` are what training batches do.
    """

    train: Images | Stream
    test: Images | Stream
    classes: tuple[str, ...]
    shape: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    flip: bool
    crop: int
    device: torch.device
    reading: Reading

    __repr__ = brief

    @property
    def outputs(self) -> int:
        """How many outputs a network needs: one for each class."""
        return len(self.classes)

    @property
    def facts(self) -> Facts:
        """What planning must know of it."""
        return Facts(
            shape=self.shape,
            classes=len(self.classes),
            images=len(self.train),
            digest=self.digest,
            reading=self.reading,
        )


@naming_extras()
def load(
    spec: DataSpec, *, device: torch.device | str = "cpu", like: Shape | None = None, workers: int | None = None
) -> Data:
    """Load what a spec asks for. `like` is the shape (C, H, W) to give images where the spec sets no size or channels.

    Sets of more than 512 MiB, ImageNet and Places365 are streamed: `workers` processes decode them (default: one per
    CPU core, 8 at most), which changes nothing but speed, and the moments come from 2,048 training images.
    Raises DataError if the set is missing, damaged, or has not what the spec asks for.

    >>> data = load(DataSpec(name="digits", classes=4, size=16))
    >>> data.shape, data.classes, data.train.images.dtype
    ((1, 16, 16), ('0', '1', '2', '3'), torch.uint8)
    """
    device = torch.device(device)
    try:
        source = find(spec.set)
        if source.streams:
            crew = min(8, os.cpu_count() or 1) if workers is None else workers
            train, test, classes, shape, known, (mean, std), reading = _streamed(spec, source, like, crew)
        else:
            train, test, classes, shape, known, (mean, std), reading = _held(spec, source, like, device)
    except OSError as error:  # a folder that may not be read, a name that no folder can have
        where = error.filename or spec.set
        raise DataError(f"dataset {spec.set!r}: {where} cannot be read: {error.strerror or error}") from error
    return Data(
        train=train,
        test=test,
        classes=classes,
        shape=shape,
        mean=mean,
        std=std,
        digest=known,
        flip=bool(spec.flip),
        crop=spec.crop or 0,
        device=device,
        # A copy of the set may lie elsewhere, beside other files, than the one that was decoded.
        reading=replace(
            reading,
            where=source.where,
            left_out=(*reading.left_out, *source.left_out),
            notes=(*reading.notes, *source.notes),
        ),
    )


_Loaded = tuple[Images | Stream, Images | Stream, tuple[str, ...], Shape, str, Moments, Reading]


def _held(spec: DataSpec, source: DataSource, like: Shape | None, device: torch.device) -> _Loaded:
    wanted = spec.size or (like[1] if like and like[1] == like[2] else None)
    # The images of a set that is not a known one may differ in size, and are then decoded to the size wanted.
    mixed = None if spec.set in USUAL else wanted
    entry = cached(["set", source.fingerprint, mixed], lambda: _decoded(source, mixed))
    assert isinstance(entry.note, dict)
    reading = Reading.read(entry.note)
    kept = [Images(images=entry.tensors[f"{part}.images"], labels=entry.tensors[f"{part}.labels"]) for part in _PARTS]
    *rows, classes = _chosen(spec, source, kept[0].labels.numpy(), kept[1].labels.numpy(), reading.classes)
    own: Shape = tuple(kept[0].images.shape[1:])  # type: ignore[assignment]
    channels, height, width = like or own
    shape = (spec.channels or channels, spec.size or height, spec.size or width)
    train, test = (
        Images(images=adapt(part.images[at], shape, spec.fit), labels=part.labels[at])
        for part, at in zip(kept, map(torch.from_numpy, rows), strict=True)
    )
    known = _digest(spec, digest([list(reading.classes), entry.content]), shape)
    return _to(train, device), _to(test, device), classes, shape, known, moments(train.images), reading


def _streamed(spec: DataSpec, source: DataSource, like: Shape | None, workers: int) -> _Loaded:
    if spec.crop:
        raise DataError(f"{spec.set} is streamed, and its training images are random resized crops already; set crop=0")
    if spec.fit == "pad":
        raise DataError(f"{spec.set} is streamed, and its images are resized; set fit='resize'")
    if like and like[1] != like[2] and not spec.size:
        raise DataError(f"{spec.set} is streamed as square images, not {like[1]} x {like[2]}; set size")
    raw = source.read()
    train, test, classes = _chosen(spec, source, raw.train.labels, raw.test.labels, raw.reading.classes)
    size = spec.size or (like[1] if like else _SIDE)
    shape = (spec.channels or (like[0] if like else 3), size, size)
    known = _digest(spec, source.fingerprint, shape)

    def stream(part: Split, rows: Ints) -> Stream:
        some = part.at(rows)
        assert not isinstance(some.images, np.ndarray)
        labels = torch.from_numpy(some.labels)
        return Stream(
            items=some.images, labels=labels, shape=shape, flip=bool(spec.flip), workers=workers, where=source.where
        )

    def count() -> Made:
        rows = np.linspace(0, len(train) - 1, min(len(train), _SAMPLE)).astype(np.int64)
        counts = torch.zeros(shape[0], 256, dtype=torch.int64)
        for images, _ in stream(raw.train, train[rows]).whole(64):
            counts += histogram(images)
        return {"counts": counts}, None

    found = from_histogram(cached(["moments", known], count).tensors["counts"])
    return stream(raw.train, train), stream(raw.test, test), classes, shape, known, found, raw.reading


_PARTS = ("train", "test")


def _decoded(source: DataSource, size: int | None) -> Made:
    raw, remarks = source.read(), Counter[str]()
    tensors = {}
    for name, part in zip(_PARTS, (raw.train, raw.test), strict=True):
        images = part.images
        if not isinstance(images, np.ndarray):
            images = stack(images, source.where, size, remarks=remarks)
        tensors[f"{name}.images"] = torch.from_numpy(np.ascontiguousarray(images))
        tensors[f"{name}.labels"] = torch.from_numpy(np.ascontiguousarray(part.labels))
    sizes = [tuple(tensors[f"{name}.images"].shape[2:]) for name in _PARTS]
    if sizes[0] != sizes[1] and size is None:
        raise DataError(f"{source.where}: training and test images differ in size ({sizes[0]}, {sizes[1]}); set size")
    remarks["test images are also training images"] = _repeated(*(tensors[f"{name}.images"] for name in _PARTS))
    told = [f"{count:,} {words}" for words, count in remarks.items() if count]
    return tensors, replace(raw.reading, notes=(*raw.reading.notes, *told)).plain()


def _repeated(train: torch.Tensor, test: torch.Tensor) -> int:
    """How many test images have the very pixels of a training image."""
    seen, found = ([hashlib.sha256(image.numpy().tobytes()).digest() for image in part] for part in (train, test))
    known = set(seen)
    return sum(one in known for one in found)


def _chosen(
    spec: DataSpec, source: DataSource, train: Ints, test: Ints, names: Sequence[str]
) -> tuple[Ints, Ints, tuple[str, ...]]:
    rows, rest = choose(spec, train, test, len(names))
    classes = tuple(names[: spec.classes])
    check_classes(train[rows], classes, f"{source.where} ({spec.name})")
    if not len(rest):
        raise DataError(f"{source.where}: no test images of the classes chosen; ask for more classes")
    return rows, rest, classes


def _digest(spec: DataSpec, content: str, shape: Shape) -> str:
    return digest([content, spec.half, spec.classes, spec.per_class, shape, spec.fit])


def _to(part: Images, device: torch.device) -> Images:
    return Images(images=part.images.to(device), labels=part.labels.to(device))
