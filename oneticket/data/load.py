"""Loading: a spec becomes training and test examples, ready to be batched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from oneticket.data.cache import Made, cached
from oneticket.data.data import Data, Examples
from oneticket.data.find import find
from oneticket.data.images.adapt import Shape, adapt
from oneticket.data.images.decode import stack
from oneticket.data.images.stream import Stream
from oneticket.data.joint import joined
from oneticket.data.kept_facts import keep_facts
from oneticket.data.moments import Moments, from_histogram, histogram
from oneticket.data.overlap import repeated
from oneticket.data.reading import Reading
from oneticket.data.scale import Scale
from oneticket.data.selection import Content, brought_to, check_request, chosen, moments_of, outputs
from oneticket.data.sources import DataRequest, DataSource, Split
from oneticket.data.spec import USUAL, DataSpec
from oneticket.data.subset import Ints
from oneticket.ground.canon import digest
from oneticket.ground.errors import DataError
from oneticket.ground.extras import naming_extras
from oneticket.ground.threads import cores
from oneticket.task.inputs import Inputs
from oneticket.task.spec import Targets

_SIDE = 224  # of streamed images, where nothing else is asked for
_SAMPLE = 2048  # training images that the moments of a streamed set are taken from


@naming_extras()
def load(
    spec: DataSpec,
    *,
    targets: Targets = "classes",
    device: torch.device | str = "cpu",
    inputs: Inputs | None = None,
    workers: int | None = None,
) -> Data:
    """Load what a spec asks for, with targets of the kind that a task needs.

    `inputs`: what a network takes that was found on other data. Images are brought to its shape where the spec sets no
    size or channels; vectors, series and tokens must have it.

    Several sets are loaded one by one and joined (`joint.joined`): images are brought to the first set's shape.

    Sets of more than 512 MiB, ImageNet and Places365 are streamed: `workers` processes decode them (default: one per
    CPU core, 8 at most), which changes nothing but speed, and the moments come from 2,048 training images.
    Raises DataError if the set is missing, damaged, or has not what the spec, the task or the network asks for.

    >>> data = load(DataSpec(name="digits", classes=4, size=16))
    >>> data.inputs.shape, data.classes, data.train.inputs.dtype
    ((1, 16, 16), ('0', '1', '2', '3'), torch.uint8)
    """
    if spec.beside:
        return _several(spec, targets=targets, device=device, inputs=inputs, workers=workers)
    device = torch.device(device)
    request = DataRequest(spec=spec, targets=targets, inputs=inputs)
    try:
        source = find(request)
        if source.streams:
            crew = min(8, cores()) if workers is None else workers
            found = _streamed(request, source, crew)
        else:
            found = _held(request, source, device)
    except OSError as error:  # a folder that may not be read, a name that no folder can have
        where = error.filename or spec.set
        raise DataError(f"dataset {spec.set!r}: {where} cannot be read: {error.strerror or error}") from error
    data = Data(
        train=found.train,
        test=found.test,
        inputs=found.inputs,
        outputs=found.outputs,
        classes=found.classes,
        mean=found.moments[0],
        std=found.moments[1],
        scale=found.scale,
        columns=found.columns,
        digest=found.digest,
        flip=bool(spec.flip),
        crop=spec.crop or 0,
        device=device,
        # The set may now be read from another copy, with other files next to it, than the one that was decoded.
        reading=replace(
            found.reading,
            where=source.where,
            left_out=(*found.reading.left_out, *source.left_out),
            notes=(*found.reading.notes, *source.notes),
        ),
    )
    keep_facts(request, source, data.facts)
    return data


def _several(spec: DataSpec, *, inputs: Inputs | None, **how: Any) -> Data:
    """Each set of a spec for inputs like the first one's, joined."""
    first, *rest = spec.members
    parts = [load(first, inputs=inputs, **how)]
    for each in rest:
        try:
            parts.append(load(each, inputs=parts[0].inputs, **how))
        except DataError as error:
            raise DataError(f"{each.name} beside {first.name}, whose network it shares: {error}") from None
    return joined(spec, parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Loaded:
    train: Examples | Stream
    test: Examples | Stream
    inputs: Inputs
    outputs: int
    classes: tuple[str, ...]
    digest: str
    moments: Moments
    scale: Scale | None
    columns: Mapping[str, Any]
    reading: Reading


def _held(request: DataRequest, source: DataSource, device: torch.device) -> _Loaded:
    spec, like = request.spec, request.inputs
    square = like and like.kind == "images" and like.shape[1] == like.shape[2]
    wanted = spec.size or (like.shape[1] if like and square else None)
    # The images of a set that is not a known one may differ in size, and are then decoded to the size wanted.
    mixed = None if spec.set in USUAL else wanted
    key = ["content", source.fingerprint, mixed, dict(source.options)] if source.fingerprint else None
    entry = cached(key, lambda: _unchanged(request, source, _decoded(source, mixed)))
    raw = Content.read(entry.note)
    check_request(request, source, raw)
    kept = [Examples(inputs=entry.tensors[f"{p}.{INPUTS}"], targets=entry.tensors[f"{p}.{TARGETS}"]) for p in _PARTS]
    *rows, classes = chosen(request, source, raw, *(part.targets.numpy() for part in kept))
    own = Inputs(kind=raw.kind, shape=tuple(kept[0].inputs.shape[1:]), vocabulary=raw.vocabulary)
    inputs = brought_to(request, own, source.where)
    train, test = (
        Examples(
            inputs=adapt(part.inputs[at], _shape(inputs), spec.fit) if raw.kind == "images" else part.inputs[at],
            targets=part.targets[at] - spec.classes_from if classes else part.targets[at],
        )
        for part, at in zip(kept, map(torch.from_numpy, rows), strict=True)
    )
    return _Loaded(
        train=_to(train, device),
        test=_to(test, device),
        inputs=inputs,
        outputs=outputs(raw, inputs, train.targets, classes, source.where),
        classes=classes,
        digest=_digest(spec, digest([list(raw.reading.classes), entry.content]), raw, inputs),
        moments=moments_of(raw, train.inputs),
        scale=Scale.of(train.targets) if raw.targets == "numbers" else None,
        columns=raw.columns,
        reading=raw.reading,
    )


def _streamed(request: DataRequest, source: DataSource, workers: int) -> _Loaded:
    spec = request.spec
    if spec.crop:
        raise DataError(f"{spec.set} is streamed, and its training images are random resized crops already; set crop=0")
    if spec.fit == "pad":
        raise DataError(f"{spec.set} is streamed, and its images are resized; set fit='resize'")
    raw = source.read()
    known = Content.of(raw)
    check_request(request, source, known)
    train, test, classes = chosen(request, source, known, raw.train.targets, raw.test.targets)
    inputs = brought_to(request, Inputs(shape=(3, _SIDE, _SIDE)), source.where)
    shape = _shape(inputs)
    if shape[1] != shape[2]:
        raise DataError(f"{spec.set} is streamed as square images, not {shape[1]} x {shape[2]}; set size")
    found = _digest(spec, source.fingerprint, known, inputs)

    def stream(part: Split, rows: Ints) -> Stream:
        some = part.at(rows)
        assert not isinstance(some.inputs, np.ndarray)
        targets = torch.from_numpy(some.targets) - spec.classes_from
        return Stream(
            items=some.inputs, targets=targets, shape=shape, flip=bool(spec.flip), workers=workers, where=source.where
        )

    def count() -> Made:
        rows = np.linspace(0, len(train) - 1, min(len(train), _SAMPLE)).astype(np.int64)
        counts = torch.zeros(shape[0], 256, dtype=torch.int64, device="cpu")
        for images, _ in stream(raw.train, train[rows]).whole(64):
            counts += histogram(images)
        return {"counts": counts}, None

    return _Loaded(
        train=stream(raw.train, train),
        test=stream(raw.test, test),
        inputs=inputs,
        outputs=len(classes),
        classes=classes,
        digest=found,
        moments=from_histogram(cached(["moments", found], count).tensors["counts"]),
        scale=None,
        columns=raw.columns,
        reading=raw.reading,
    )


INPUTS, TARGETS = "images", "labels"
"""What tensors are called in the cache: digests hold these names since there were images alone."""

_PARTS = ("train", "test")


def _decoded(source: DataSource, size: int | None) -> Made:
    raw, remarks = source.read(), Counter[str]()
    tensors, (_, several) = {}, raw.reading.noun
    for name, part in zip(_PARTS, (raw.train, raw.test), strict=True):
        inputs = part.inputs
        if not isinstance(inputs, np.ndarray):
            inputs = stack(inputs, source.where, size, remarks=remarks)
        tensors[f"{name}.{INPUTS}"] = torch.from_numpy(np.ascontiguousarray(inputs))
        tensors[f"{name}.{TARGETS}"] = torch.from_numpy(np.ascontiguousarray(part.targets))
    sizes = [tuple(tensors[f"{name}.{INPUTS}"].shape[2:]) for name in _PARTS]
    if sizes[0] != sizes[1] and size is None:
        raise DataError(f"{source.where}: training and test images differ in size ({sizes[0]}, {sizes[1]}); set size")
    remarks[f"test {several} are also training {several}"] = repeated(
        *(tensors[f"{name}.{INPUTS}"].numpy() for name in _PARTS)
    )
    return tensors, Content.of(raw, *(f"{count:,} {words}" for words, count in remarks.items() if count)).plain()


def _unchanged(request: DataRequest, source: DataSource, made: Made) -> Made:
    """What was read, if the files are still those that it will be known by."""
    if source.fingerprint and find(request, fetch=False).fingerprint != source.fingerprint:
        raise DataError(f"{source.where}: its files changed while they were read; try again when nothing writes there")
    return made


def _shape(inputs: Inputs) -> Shape:
    channels, height, width = inputs.shape
    return channels, height, width


def _digest(spec: DataSpec, content: str, raw: Content, inputs: Inputs) -> str:
    later = {"draw": spec.draw, "classes_from": spec.classes_from or None, "test_examples": spec.test_examples}
    given = {name: value for name, value in later.items() if value is not None}
    known = [content, spec.half, spec.classes, spec.per_class, inputs.shape, spec.fit, *([given] if given else [])]
    if raw.kind == "images" and raw.targets == "classes":
        return digest(known)
    said = [raw.outputs] if raw.targets == "given" else []  # nothing else of them tells how many
    return digest([*known, inputs.plain(), raw.targets, list(raw.unscaled), dict(raw.columns), *said])


def _to(part: Examples, device: torch.device) -> Examples:
    return Examples(inputs=part.inputs.to(device), targets=part.targets.to(device))
