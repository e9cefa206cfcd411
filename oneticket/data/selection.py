"""What a request makes of a set: which of its examples, brought to which inputs, for how many outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from oneticket.data.moments import Moments, moments
from oneticket.data.reading import Reading
from oneticket.data.settle import check_classes
from oneticket.data.sources import DataRequest, DataSource, Raw
from oneticket.data.subset import Ints, choose, class_range, fewer, half
from oneticket.ground.errors import DataError, SelectionError, WrongDataError
from oneticket.task.inputs import Inputs
from oneticket.task.spec import TARGETS, Kind, Targets


@dataclass(frozen=True, kw_only=True)
class Content:
    """The facts of a whole set without its examples; the fields are those of `Raw`."""

    kind: Kind
    vocabulary: int | None
    targets: Targets
    outputs: int | None
    unscaled: tuple[int, ...]
    columns: Mapping[str, Any]
    reading: Reading

    def plain(self) -> dict[str, Any]:
        """As JSON values; `Content.read` takes them back."""
        return {**asdict(self), "reading": self.reading.plain()}

    @classmethod
    def of(cls, raw: Raw, *remarks: str) -> Content:
        """The facts from a reader, with more remarks for the reading."""
        reading = replace(raw.reading, notes=(*raw.reading.notes, *remarks))
        said = {"kind": raw.kind, "vocabulary": raw.vocabulary, "targets": raw.targets, "outputs": raw.outputs}
        return cls(**said, unscaled=raw.unscaled, columns=raw.columns, reading=reading)  # type: ignore[arg-type]

    @classmethod
    def read(cls, plain: Any) -> Content:
        """From what `plain` gave."""
        return cls(**{**plain, "unscaled": tuple(plain["unscaled"]), "reading": Reading.read(plain["reading"])})


def check_request(request: DataRequest, source: DataSource, raw: Content) -> None:
    """Refuse targets that the task has no use for, and settings that have no effect on such a set."""
    spec, where = request.spec, source.where
    if request.targets not in (raw.targets, "given"):
        gives, wants = TOLD[raw.targets], TOLD[request.targets]
        task = next((name for name, kind in TARGETS.items() if kind == raw.targets), "")
        remedy = f'; set `task = "{task}"`' if task else ""
        raise SelectionError(f"{where}: gives {gives}, but the task asks for {wants}{remedy}")
    if raw.targets != "classes":
        for name, unused in (("classes", None), ("per_class", None), ("classes_from", 0)):
            if getattr(spec, name) != unused:
                raise SelectionError(
                    f"{name}={getattr(spec, name)}: {where} gives {TOLD[raw.targets]}, not classes; leave it out"
                )
    some = {"label": True, "missing": bool(raw.columns), "length": raw.kind == "tokens"}
    for name, what, neutral in (("label", "tables", None), ("missing", "tables", "refuse"), ("length", "texts", None)):
        if (given := getattr(spec, name)) != neutral and not (name in source.options and some[name]):
            raise SelectionError(f"{name}={given}: is for {what}, which {where} is not; leave it out")
    if raw.kind != "images":
        usual = {"size": None, "channels": None, "fit": "resize", "flip": False, "crop": 0}
        for name, value in usual.items():
            if (given := getattr(spec, name)) != value:
                raise SelectionError(f"{name}={given}: is for images, but {where} holds {raw.kind}; leave it out")


def brought_to(request: DataRequest, own: Inputs, where: str) -> Inputs:
    """What the inputs are brought to: a network's or the set's own, as the spec changes them."""
    spec, like = request.spec, request.inputs
    if like and like.kind != own.kind:
        raise WrongDataError(f"{where} holds {own}; the network takes {like}, and one cannot be turned into the other")
    if own.kind == "images":
        channels, height, width = like.shape if like else own.shape
        return Inputs(shape=(spec.channels or channels, spec.size or height, spec.size or width))
    if like is None:
        return own
    if own.shape != like.shape or (own.vocabulary or 0) > (like.vocabulary or 0):
        raise DataError(
            f"{where} holds {own}; the network takes {like}: only images can be brought to another shape, and "
            "tokens only to a larger vocabulary"
        )
    return like


def moments_of(raw: Content, inputs: torch.Tensor) -> Moments:
    """What training inputs are scaled by: nothing for tokens, 0 and 1 for what is not to be scaled."""
    if raw.kind == "tokens":
        return (), ()
    mean, std = map(list, moments(inputs))
    for at in raw.unscaled:
        mean[at], std[at] = 0.0, 1.0
    return tuple(mean), tuple(std)


def outputs(raw: Content, inputs: Inputs, targets: torch.Tensor, classes: Sequence[str], where: str) -> int:
    """How many outputs a network needs."""
    if raw.targets == "classes":
        return len(classes)
    if raw.targets == "tokens":
        return inputs.vocabulary or 0
    if raw.targets == "numbers":
        return targets.shape[1]
    if raw.outputs is None:
        raise DataError(f"{where}: does not say how many outputs a network needs; name them `outputs` in a mapping")
    return raw.outputs


def chosen(
    request: DataRequest, source: DataSource, raw: Content, train: Ints, test: Ints
) -> tuple[Ints, Ints, tuple[str, ...]]:
    """Positions of the training and test examples that are asked for, and the names of their classes."""
    spec, reading = request.spec, raw.reading
    if raw.targets != "classes":
        whole = np.arange(len(train))
        rows = half(np.zeros_like(whole), spec.half) if spec.half and not source.halved else whole
        if not len(rows):
            raise SelectionError(
                f"{source.where}: half {spec.half} is empty, since there is only one training example; leave the half "
                "out"
            )
        rest = np.arange(len(test))
        return rows, rest if spec.test_examples is None else fewer(np.zeros_like(rest), spec.test_examples), ()
    rows, rest = choose(spec, train, test, len(reading.classes), halve=not source.halved)
    first, last = class_range(spec, len(reading.classes))
    classes = tuple(reading.classes[first:last])
    check_classes(train[rows] - first, classes, f"{source.where} ({spec.name})", reading.noun[1])
    if not len(rest):
        raise SelectionError(f"{source.where}: no test {reading.noun[1]} of the classes chosen; ask for more classes")
    return rows, rest, classes


TOLD: dict[Targets, str] = {
    "classes": "classes",
    "numbers": "numbers",
    "tokens": "the tokens that follow",
    "given": "targets as they are given",
}
