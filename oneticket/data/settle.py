"""The rules that every set must keep: which of its splits is which part, and what inputs and targets may be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from oneticket.data.reading import LeftOut, Part, Reading, counted
from oneticket.data.roles import assign
from oneticket.data.sources import Raw, Split
from oneticket.data.subset import Ints, held_out
from oneticket.ground.errors import DataError
from oneticket.task.inputs import AXES, Inputs
from oneticket.task.spec import Kind, Targets

NOUNS: dict[Kind, tuple[str, str]] = {
    "images": ("image", "images"),
    "vectors": ("row", "rows"),
    "series": ("series", "series"),
    "tokens": ("text", "texts"),
}
"""What an example is called, and several are, unless a reader has better words."""


def settle(
    splits: Mapping[str, Split],
    classes: Sequence[str],
    where: str,
    *,
    kind: Kind = "images",
    targets: Targets = "classes",
    vocabulary: int | None = None,
    outputs: int | None = None,
    unscaled: tuple[int, ...] = (),
    columns: Mapping[str, Any] | None = None,
    noun: tuple[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Raw:
    """Training and test part of a set, checked.

    The names of the splits give their roles (`roles.assign`); a test split with hidden labels (-1) is replaced by the
    validation split. Without a test split a fixed fifth, balanced over classes, is held out. `classes`: the names
    of the classes, none for other targets. `noun`: the words for one example and for several.

    Raises DataError for an empty part, inputs that are not finite or of different forms, a label or token out of range,
    numbers that are not finite, fewer than two classes or a class without examples.
    """
    noun = noun or NOUNS[kind]
    for name, part in splits.items():
        if not len(part):
            each = " of each class" if targets == "classes" else ""
            raise DataError(f"{where}: split {name!r} is empty; expected at least one {noun[0]}{each}")
        _check_inputs(part, kind, vocabulary, f"{where}, split {name!r}")
    shapes = {part.inputs.shape[1:] for part in splits.values() if isinstance(part.inputs, np.ndarray)}
    if kind != "images" and len(shapes) > 1:
        raise DataError(f"{where}: {noun[1]} of its parts differ in shape: {sorted(shapes)}")
    labelled = [name for name, part in splits.items() if targets != "classes" or (part.targets >= 0).any()]
    first, second = assign(splits, labelled, where)
    train, test = splits[first], splits[second] if second else None
    for part in (train, test) if test else (train,):
        _check_targets(part, targets, classes, vocabulary, noun[0], where)
    if targets == "classes":
        if len(classes) < 2:
            raise DataError(f"{where}: holds the class {', '.join(classes) or 'of none'} alone; expected at least two")
        check_classes(train.targets, classes, where, noun[1])
    lone = _lone(train.targets, classes, noun[0]) if targets == "classes" and test is None else []
    spare = {name: part for name, part in splits.items() if name not in (first, second)}
    why = {
        name: f"the test part is {test.origin}" if test and name in labelled else "it has no labels" for name in spare
    }
    train, test = (train, test) if test else _fifth_held_out(train, targets, noun[1], where)
    about = "" if (kind, targets) == ("images", "classes") else _about(train, kind, targets, vocabulary)
    reading = Reading(
        where=where,
        classes=tuple(classes),
        train=_part(train, targets),
        test=_part(test, targets),
        left_out=tuple(_unread(part, why[name], where) for name, part in spare.items()),
        notes=(*notes, *_alike(classes), *lone),
        about=about,
        noun=noun,
    )
    return Raw(
        train=train,
        test=test,
        reading=reading,
        kind=kind,
        vocabulary=vocabulary,
        targets=targets,
        outputs=outputs,
        unscaled=unscaled,
        columns=columns or {},
    )


def _check_inputs(part: Split, kind: Kind, vocabulary: int | None, where: str) -> None:
    """That arrays are what their kind is, and as many as their targets; encoded images are looked at when decoded."""
    inputs = part.inputs
    if len(inputs) != len(part.targets):
        raise DataError(f"{where}: {len(inputs):,} inputs but {len(part.targets):,} targets; expected one for each")
    if not isinstance(inputs, np.ndarray):
        return
    if inputs.ndim != 1 + len(AXES[kind]) or not inputs.size:
        axes = ", ".join(("examples", *AXES[kind]))
        raise DataError(f"{where}: {kind}: expected an array ({axes}), got shape {inputs.shape}")
    if inputs.dtype == np.float32 and not np.isfinite(inputs).all():
        raise DataError(f"{where}: {kind} hold NaN or infinite values; remove them")
    if kind == "tokens" and (inputs.min() < 0 or inputs.max() >= (vocabulary or 0)):
        raise DataError(
            f"{where}: tokens from {inputs.min()} to {inputs.max()}; expected 0 to {(vocabulary or 0) - 1}, for a "
            f"vocabulary of {vocabulary}"
        )


def _check_targets(
    part: Split, targets: Targets, classes: Sequence[str], vocabulary: int | None, one: str, where: str
) -> None:
    values = part.targets
    if targets == "classes":
        wrong = np.flatnonzero((values < 0) | (values >= len(classes)))
        if len(wrong):
            raise DataError(
                f"{where}: {one} {wrong[0]} has label {values[wrong[0]]}, outside 0..{len(classes) - 1} "
                f"({len(classes)} classes); mend the labels or the class names"
            )
    elif targets == "numbers":
        if values.ndim != 2 or values.dtype != np.float32 or not values.shape[1]:
            raise DataError(
                f"{where}: expected float32 numbers as targets, (examples, numbers), got {values.dtype} of shape "
                f"{values.shape}"
            )
        if len(wrong := np.flatnonzero(~np.isfinite(values).all(1))):
            raise DataError(f"{where}: the target of {one} {wrong[0]} is not finite; remove it")
    elif targets == "tokens":
        if np.shape(part.inputs) != values.shape:
            raise DataError(
                f"{where}: expected a token as target for each of the inputs' {np.shape(part.inputs)}, got shape "
                f"{values.shape}"
            )
        if values.min() < 0 or values.max() >= (vocabulary or 0):
            raise DataError(f"{where}: tokens as targets: expected 0 to {(vocabulary or 0) - 1}, got {values.max()}")


def _about(part: Split, kind: Kind, targets: Targets, vocabulary: int | None) -> str:
    """What inputs and targets are, for the reading."""
    shape = np.shape(part.inputs)[1:] if isinstance(part.inputs, np.ndarray) else ()
    inputs = str(Inputs(kind=kind, shape=tuple(shape), vocabulary=vocabulary)) if shape else kind
    count = part.targets.shape[1] if targets == "numbers" else 0
    each = {
        "classes": "",
        "numbers": f", {counted(count, 'number', 'numbers')} to predict",
        "tokens": ", the next token to predict",
        "given": ", targets as they are given",
    }
    return inputs + each[targets]


def fifth(values: NDArray[Any], targets: Targets) -> tuple[Ints, Ints]:
    """Positions of the training part and of the fixed fifth for test of a set with one split, given its targets.

    >>> [rows.tolist() for rows in fifth(np.zeros((5, 1), np.float32), "numbers")]
    [[0, 1, 2, 4], [3]]
    """
    return held_out(values if targets == "classes" else np.zeros(len(values), np.int64))


def _fifth_held_out(whole: Split, targets: Targets, several: str, where: str) -> tuple[Split, Split]:
    rows, rest = fifth(whole.targets, targets)
    if not len(rest):
        raise DataError(f"{where}: no class has two {several}, so none can be held out for test; add some")
    origins = f"the rest of {whole.origin}", f"a fixed fifth of {whole.origin}, held out"
    return replace(whole.at(rows), origin=origins[0]), replace(whole.at(rest), origin=origins[1])


def _part(part: Split, targets: Targets) -> Part:
    classes = len(np.unique(part.targets)) if targets == "classes" else 0
    return Part(origin=part.origin, examples=len(part), classes=classes)


def _unread(part: Split, why: str, where: str) -> LeftOut:
    first = part.inputs[0] if isinstance(part.inputs, list) else b""
    example = os.path.relpath(first, where).replace(os.sep, "/") if isinstance(first, str) else ""
    return LeftOut(count=len(part), reason=f"in {part.origin}, as {why}", example=example)


def _alike(classes: Sequence[str]) -> list[str]:
    """Remarks on classes whose names are easily taken for one."""
    seen: dict[str, str] = {}
    pairs = ((seen.setdefault(normalize("NFC", name.casefold()), name), name) for name in classes)
    return [
        f"Classes {first} and {name} differ in case or Unicode form alone" for first, name in pairs if first != name
    ]


def _lone(labels: Ints, classes: Sequence[str], one: str) -> list[str]:
    """Remarks on classes with one example, which the held-out part cannot have."""
    lone = [name for name, count in zip(classes, np.bincount(labels), strict=True) if count == 1]
    names = ", ".join(lone[:5]) + (f" and {len(lone) - 5} more" if len(lone) > 5 else "")
    if not lone:
        return []
    who = f"Class {names} has one {one}" if len(lone) == 1 else f"Classes {names} have one {one} each"
    return [f"{who}, which stays in the training part: the test part has none"]


def check_classes(labels: Ints, classes: Sequence[str], where: str, several: str = "images") -> None:
    """Raise DataError where a class has no training example; `several`: what examples are called."""
    counts = np.bincount(labels, minlength=len(classes))
    bare = [name for name, count in zip(classes, counts, strict=True) if not count]
    if bare:
        raise DataError(
            f"{where}: no training {several} of class {', '.join(bare[:5])}; add some, or leave the class out"
        )
