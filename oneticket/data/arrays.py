"""Sets that come as arrays: scikit-learn's digits and diabetes, MNIST-1D, and `.npz` files."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneticket.data import npz as stored
from oneticket.data.kinds import raw
from oneticket.data.roles import role
from oneticket.data.settle import settle
from oneticket.data.sources import DataSource, Raw, Split, fingerprint
from oneticket.data.undisturbed import undisturbed
from oneticket.ground import archive
from oneticket.ground.canon import digest
from oneticket.ground.errors import DataError, FileError, WrongDataError, WrongFileError
from oneticket.task.spec import Targets
from oneticket.ticket.names import listed


def digits() -> DataSource:
    """scikit-learn's 1,797 scanned digits, 8 x 8 grey of 17 levels, with a fixed held-out test part of 360.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """

    def read() -> Raw:
        with undisturbed():
            from sklearn.datasets import load_digits

            found = load_digits()
        images = (found.images * 15).astype(np.uint8)[:, None]
        names = [str(name) for name in found.target_names]
        whole = Split(inputs=images, targets=found.target.astype(np.int64), origin="its images")
        return settle({"all": whole}, names, "digits")

    return DataSource(where="digits", fingerprint=_package("scikit-learn"), read=read)


def diabetes() -> DataSource:
    """scikit-learn's 442 diabetes patients: 10 numbers each, as measured, and how far the illness is a year later.

    The target lies between 25 and 346, in a unit that its publishers do not name. A fixed, seeded fifth is the test
    part. Source: Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, Annals of Statistics, 2004.
    """

    def read() -> Raw:
        with undisturbed():
            from sklearn.datasets import load_diabetes

            found = load_diabetes(scaled=False)  # scaled, it is by the test part too
        numbers, target = found.data.astype(np.float32), found.target.astype(np.float32)[:, None]
        whole = Split(inputs=numbers, targets=target, origin="its patients")
        return settle({"all": whole}, (), "diabetes", kind="vectors", targets="numbers", noun=("patient", "patients"))

    return DataSource(where="diabetes", fingerprint=_package("scikit-learn"), read=read, options={"set": "diabetes"})


def mnist1d() -> DataSource:
    """MNIST-1D: 4,000 / 1,000 generated series of 40 points in 10 classes, float32 (N, 1, 40), its published seed.

    Source: Greydanus and Kobak, Scaling Down Deep Learning with MNIST-1D, ICML 2024.
    """

    def read() -> Raw:
        with undisturbed():
            from mnist1d.data import get_dataset_args, make_dataset

            made = make_dataset(get_dataset_args())
        splits = {
            name: Split(inputs=made[x].astype(np.float32)[:, None], targets=made[y].astype(np.int64), origin=name)
            for name, x, y in (("train", "x", "y"), ("test", "x_test", "y_test"))
        }
        return settle(splits, [str(digit) for digit in range(10)], "mnist1d", kind="series")

    known = _package("mnist1d", "numpy", "scipy")
    return DataSource(where="mnist1d", fingerprint=known, read=read, options={"kind": "series"})


def npz(path: Path, targets: Targets = "classes") -> DataSource:
    """An `.npz` file: x_train, y_train, and x_test, y_test (else a fifth is held out); `classes` may name the classes.

    The splits may have other usual names (x_val, X_Test).

    x are images, uint8 or float32 / float64, (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3; or vectors, floats
    (N, F). An entry `kind` with the word series, vectors or tokens names another kind: series (N, C, T) look like
    grey images, tokens (N, T) like vectors. `vocabulary`: of tokens, by default the highest plus one. y are labels, or
    what the task needs: numbers (N,) or (N, K), tokens (N, T).
    """
    where = str(path)

    def read() -> Raw:
        arrays, pairs, spare = _read(path)
        kind = _word(arrays["kind"], where) if "kind" in arrays else None
        notes = [f"Arrays that are not read: {listed(spare)}"] if spare else []
        if kind is None and any(arrays[x].ndim == 3 for x, _ in pairs.values()):
            kind = "images"
            notes.append("Arrays of three dimensions are grey images; an entry kind='series' says otherwise")
        return raw(
            {split: (arrays[x], arrays[y]) for split, (x, y) in pairs.items()},
            where,
            origins={split: x for split, (x, _) in pairs.items()},
            targets=targets,
            kind=kind,
            vocabulary=_count(arrays["vocabulary"], where) if "vocabulary" in arrays else None,
            classes=_names(arrays["classes"], where) if "classes" in arrays else None,
            notes=notes,
        )

    known = fingerprint([("npz", path)])[0]
    return DataSource(where=where, fingerprint=known, read=read, options={"targets": targets})


def _read(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, tuple[str, str]], list[str]]:
    """The arrays of a set, the names of each split's inputs and targets, and the names of arrays that are not read."""
    try:
        with path.open("rb") as file, archive.opened(file) as entries:
            found = stored.names(entries)
            pairs = _pairs(found, str(path))
            arrays = stored.read(entries, [name for pair in pairs.values() for name in pair])
            about = [name for name in ("classes", "kind", "vocabulary") if name in found]
            spare = sorted(set(found) - {*arrays, *about})
            arrays |= stored.read(entries, about, kinds=stored.NUMBERS + "SU")
            return arrays, pairs, spare
    except (OSError, FileError) as error:
        sort = WrongDataError if isinstance(error, WrongFileError) else DataError
        raise sort(f"{path}: cannot read this .npz file: {error}; write it again with numpy.savez") from None


def _pairs(arrays: Collection[str], where: str) -> dict[str, tuple[str, str]]:
    """The names of inputs and targets of each split: x_train and y_train, x_val and y_val, with any case."""
    by_name = {name.casefold(): name for name in arrays}
    found = [name[2:] for name in by_name if name.startswith("x_") and role(name[2:])]
    splits = [name for name in found if role(name) != "validation" or f"y_{name}" in by_name]
    needed = splits if any(role(split) == "train" for split in splits) else ["train", *splits]
    missing = [name for split in needed for name in (f"x_{split}", f"y_{split}") if name not in by_name]
    if missing:
        raise DataError(
            f"{where}: no array {', '.join(missing)}; expected x_train, y_train, x_test, y_test, got {listed(arrays)}"
        )
    if len(by_name) < len(arrays):
        raise DataError(f"{where}: names of arrays differ in case alone: {listed(sorted(arrays))}; rename them")
    return {split: (by_name[f"x_{split}"], by_name[f"y_{split}"]) for split in splits}


def _names(classes: NDArray[np.generic], where: str) -> list[str]:
    if classes.ndim != 1:
        raise DataError(f"{where}: expected the names of the classes in one dimension, got shape {classes.shape}")
    return [str(name) for name in classes.tolist()]


def _word(said: NDArray[np.generic], where: str) -> str:
    if said.dtype.kind != "U" or said.size != 1:
        raise DataError(f"{where}: kind: expected one word such as series, got {said.dtype} of shape {said.shape}")
    return str(said.item())


def _count(said: NDArray[np.generic], where: str) -> int:
    if said.dtype.kind not in "iu" or said.size != 1:
        raise DataError(f"{where}: vocabulary: expected one whole number, got {said.dtype} of shape {said.shape}")
    return int(said.item())


def _package(*names: str) -> str:
    """The versions of the packages that contain a set; empty for a missing one, which reading the set reports."""
    try:
        return digest([[name, version(name)] for name in names])
    except PackageNotFoundError:
        return ""
