"""The user's own data: what a function of theirs returns, as a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oneticket.data.kinds import raw
from oneticket.data.sources import DataRequest, DataSource, Raw
from oneticket.data.spec import USUAL
from oneticket.data.undisturbed import undisturbed
from oneticket.ground.errors import DataError, WrongDataError, unknown

Array = NDArray[Any]

ARRAYS = ("train_inputs", "train_targets", "test_inputs", "test_targets")
ABOUT = ("kind", "classes", "outputs", "vocabulary")


def own(request: DataRequest) -> DataSource:
    """The set that the user's function makes. It takes no arguments and runs whenever the set is loaded.

    It returns `(train_inputs, train_targets, test_inputs, test_targets)`, arrays or tensors; or a mapping with these
    names and, if wanted, `kind`, `classes` (their names), `outputs` and `vocabulary`; or two torch datasets, for
    training and test, which are read whole into memory. The kind of the inputs is inferred where dtype and dimensions
    leave no doubt: floats (N, F) are vectors, (N, C, H, W) and uint8 (N, H, W) images; else `kind` must name it.

    The set is identified by what the function returns, not by files that it reads. Raises DataError for anything else.
    """
    path = request.spec.set

    def read() -> Raw:
        with undisturbed(), USUAL.blamed(path, DataError):
            arrays, about = _unpacked(USUAL.own(path)(), path)
        parts = {name: (arrays[f"{name}_inputs"], arrays[f"{name}_targets"]) for name in ("train", "test")}
        classes = about.get("classes")
        if classes is not None and (isinstance(classes, str) or not isinstance(classes, Sequence | np.ndarray)):
            raise WrongDataError(f"{path}: classes: expected the names of the classes in a list, got {classes!r}")
        return raw(
            parts,
            path,
            origins={name: f"{name}_inputs" for name in parts},
            targets=request.targets,
            kind=about.get("kind"),
            classes=None if classes is None else [str(name) for name in classes],
            outputs=_count(about.get("outputs"), f"{path}: outputs"),
            vocabulary=_count(about.get("vocabulary"), f"{path}: vocabulary"),
        )

    return DataSource(where=path, fingerprint="", read=read)


def _unpacked(made: object, path: str) -> tuple[dict[str, Array], Mapping[str, Any]]:
    """The four arrays by name, and the other entries."""
    expected = f"expected {', '.join(ARRAYS)} as a tuple or a mapping, or two torch datasets"
    if isinstance(made, Mapping):
        if strange := [name for name in made if name not in (*ARRAYS, *ABOUT)]:
            raise WrongDataError(f"{path}: {unknown('name', str(strange[0]), (*ARRAYS, *ABOUT))}")
        if missing := [name for name in ARRAYS if made.get(name) is None]:
            raise WrongDataError(f"{path}: no {', '.join(missing)}; {expected}")
        return {name: _array(made[name], f"{path}: {name}") for name in ARRAYS}, made
    if not isinstance(made, tuple | list):
        raise WrongDataError(f"{path}: {expected}; got {type(made).__name__}")
    if len(made) == len(ARRAYS):
        return {name: _array(value, f"{path}: {name}") for name, value in zip(ARRAYS, made, strict=True)}, {}
    if len(made) != 2 or not all(map(_mapped, made)):
        kinds = ", ".join(type(one).__name__ for one in made[:8]) or "nothing"
        raise WrongDataError(
            f"{path}: {expected}, which have a length and give an example for each number; got {kinds}"
        )
    arrays = {}
    for name, part in zip(("train", "test"), made, strict=True):
        arrays[f"{name}_inputs"], arrays[f"{name}_targets"] = _stacked(part, f"{path}: {name}")
    return arrays, {}


def _mapped(part: object) -> bool:
    arrays = isinstance(part, np.ndarray | torch.Tensor | list | tuple | Mapping)
    return not arrays and hasattr(part, "__len__") and hasattr(part, "__getitem__")


def _stacked(part: Any, where: str) -> tuple[Array, Array]:
    """The inputs and targets of a dataset, all of them."""
    columns: tuple[list[Array], list[Array]] = [], []
    for number in range(len(part)):
        example = part[number]
        if not isinstance(example, tuple | list) or len(example) != 2:
            raise WrongDataError(
                f"{where}: example {number}: expected an input and a target, got {type(example).__name__}"
            )
        for column, value in zip(columns, example, strict=True):
            column.append(_array(value, f"{where}: example {number}"))
            if column[-1].shape != column[0].shape:
                shapes = f"{column[-1].shape}, the first has {column[0].shape}"
                raise WrongDataError(f"{where}: example {number} has the shape {shapes}; make them one")
    if not columns[0]:
        raise WrongDataError(f"{where}: the dataset is empty; expected at least one example")
    return np.stack(columns[0]), np.stack(columns[1])


def _array(value: object, where: str) -> Array:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        made = np.asarray(value)
    except ValueError as error:  # lists of unlike lengths
        raise WrongDataError(f"{where}: cannot be one array: {error}") from None
    if made.dtype.kind not in "biuf":
        raise WrongDataError(
            f"{where}: expected numbers in one array, got dtype {made.dtype}; make texts numbers, and classes "
            "numbers from 0"
        )
    return made


def _count(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1):
        return None if value is None else int(value)
    raise WrongDataError(f"{where}: expected a whole number of 1 or more, got {value!r}")
