"""Arrays from the user: the kind of their inputs, and inputs and targets as a set stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from oneticket.data.settle import NOUNS, settle
from oneticket.data.sources import Raw, Split
from oneticket.ground.errors import DataError, unknown
from oneticket.task.spec import Kind, Targets

Array = NDArray[Any]


def raw(
    parts: Mapping[str, tuple[Array, Array]],
    where: str,
    *,
    origins: Mapping[str, str],
    targets: Targets,
    kind: str | None = None,
    vocabulary: int | None = None,
    classes: Sequence[str] | None = None,
    outputs: int | None = None,
    notes: Sequence[str] = (),
) -> Raw:
    """A checked set from arrays: split -> (inputs, targets). What is not given is inferred, or an error asks for it.

    `origins`: names of the splits for messages. `vocabulary`: by default the highest token plus one. `classes`: by
    default numbers from 0. Raises DataError naming the split for arrays that cannot be inputs or targets of the kind.
    """
    known = {kind_of(x, kind, f"{where}: {split}") for split, (x, _) in parts.items()}
    if len(known) > 1:
        raise DataError(f"{where}: its parts are of several kinds: {', '.join(sorted(known))}; make them alike")
    (found,) = known
    splits = {}
    for split, (x, y) in parts.items():
        place = f"{where}: {split}"
        if not x.ndim or not y.ndim or (targets != "classes" and len(x) != len(y)):
            raise DataError(f"{place}: expected a target for each input, got shapes {x.shape} and {y.shape}")
        splits[split] = Split(
            inputs=INPUTS[found](x, place), targets=_targets(y, len(x), targets, place), origin=origins[split]
        )
    if found == "tokens" and vocabulary is None:
        tops = [
            int(part.inputs.max())
            for part in splits.values()
            if isinstance(part.inputs, np.ndarray) and part.inputs.size
        ]
        tops += [int(part.targets.max()) for part in splits.values() if targets == "tokens" and part.targets.size]
        vocabulary = max(tops, default=0) + 1
    shapes = {np.shape(part.inputs)[1:] for part in splits.values()}
    if len(shapes) > 1:
        raise DataError(f"{where}: training and test {found} differ in shape: {sorted(shapes)}")
    if outputs is not None and targets != "given":
        raise DataError(f"{where}: outputs={outputs}: the task asks for {targets}, which say how many; leave it out")
    labelled = targets == "classes" or (targets == "given" and outputs is None and _labels(splits))
    return settle(
        splits,
        _names(splits, classes, NOUNS[found][1], where) if labelled else (),
        where,
        kind=found,
        targets="classes" if labelled else targets,
        vocabulary=vocabulary if found == "tokens" else None,
        outputs=_outputs(splits) if outputs is None and targets == "given" else outputs,
        notes=notes,
    )


def kind_of(x: Array, said: str | None, where: str) -> Kind:
    """The kind of inputs, as given, or as dtype and dimensions show; raises DataError where they leave doubt.

    >>> kind_of(np.zeros((9, 16), np.float32), None, "rows"), kind_of(np.zeros((9, 8, 8), np.uint8), None, "pictures")
    ('vectors', 'images')
    """
    if said is not None:
        if said not in get_args(Kind):
            raise DataError(f"{where}: {unknown('kind', said, get_args(Kind))}")
        return next(kind for kind in get_args(Kind) if kind == said)
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected inputs that are numbers, got dtype {x.dtype}")
    if x.ndim == 2 and x.dtype.kind == "f":
        return "vectors"
    if x.ndim == 4 or (x.ndim == 3 and x.dtype == np.uint8):
        return "images"
    readings = {
        2: ("vectors, or tokens", "kind='vectors' or kind='tokens'"),
        3: ("images (N, H, W), or series (N, C, T)", "kind='images' or kind='series'"),
    }
    if x.ndim not in readings:
        raise DataError(f"{where}: expected inputs of 2 to 4 dimensions, got {x.dtype} of shape {x.shape}")
    may, say = readings[x.ndim]
    raise DataError(f"{where}: {x.dtype} of shape {x.shape} may be {may}; say which: {say}")


def images(x: Array, where: str) -> Array:
    """Images uint8 or float32 (N, C, H, W), of (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3."""
    if x.dtype in (np.float32, np.float64):
        x = _float32(x)
        if not np.isfinite(x).all():
            raise DataError(f"{where}: images hold NaN or infinite values; remove them")
    elif x.dtype != np.uint8:
        raise DataError(f"{where}: expected images of uint8 or float32, got {x.dtype}")
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise DataError(f"{where}: expected images with 1 or 3 channels, (N, C, H, W) or (N, H, W, C), got shape {x.shape}")


def _numbers(x: Array, where: str) -> Array:
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected numbers, got dtype {x.dtype}")
    return _float32(x)


def _tokens(x: Array, where: str) -> Array:
    if x.dtype.kind not in "iu":
        raise DataError(f"{where}: expected tokens, whole numbers from 0, got dtype {x.dtype}")
    return x.astype(np.int64)


def _targets(y: Array, count: int, targets: Targets, where: str) -> Array:
    if targets == "classes":
        if not np.issubdtype(y.dtype, np.integer) or y.shape != (count,):
            raise DataError(f"{where}: expected {count} whole-number labels, got {y.dtype} of shape {y.shape}")
        return y.astype(np.int64)
    if targets == "tokens":
        return _tokens(y, where)
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected targets that are numbers, got dtype {y.dtype}")
    if targets == "numbers":
        return _float32(y).reshape(count, prod(y.shape[1:]))
    if y.dtype.kind != "f":
        return y.astype(np.bool_ if y.dtype.kind == "b" else np.int64)
    y = _float32(y)
    if not np.isfinite(y).all():
        raise DataError(f"{where}: targets hold NaN or infinite values, or numbers beyond float32; remove them")
    return y


def _float32(values: Array) -> Array:
    """What float32 cannot hold becomes infinite, and is refused later."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _labels(splits: Mapping[str, Split]) -> bool:
    """Whether targets that are given are labels: one whole number from 0 for each input."""
    found = [part.targets for part in splits.values()]
    return all(each.ndim == 1 and each.dtype == np.int64 and (each >= 0).all() for each in found)


def _outputs(splits: Mapping[str, Split]) -> int | None:
    """One output for each number of targets that are given, where those are rows of numbers."""
    shape = next(iter(splits.values())).targets.shape
    return {1: 1, 2: shape[-1]}.get(len(shape))


def _names(splits: Mapping[str, Split], classes: Sequence[str] | None, several: str, where: str) -> list[str]:
    if classes is not None:
        return [str(name) for name in classes]
    highest = max(int(part.targets.max(initial=0)) for part in splits.values())
    count = sum(len(part) for part in splits.values())
    if highest >= max(count, 1):
        raise DataError(f"{where}: label {highest} of {count} {several}; labels are the numbers from 0, without gaps")
    return [str(number) for number in range(highest + 1)]


INPUTS = {"images": images, "vectors": _numbers, "series": _numbers, "tokens": _tokens}
"""Kind -> how arrays become what a set holds."""
