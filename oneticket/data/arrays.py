"""Sets that come as arrays: scikit-learn's digits, MNIST-1D, and `.npz` files."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneticket.data import npz as stored
from oneticket.data.roles import role
from oneticket.data.sources import DataSource, Raw, Split, fingerprint, settle
from oneticket.data.subset import Ints
from oneticket.ground import archive
from oneticket.ground.canon import digest
from oneticket.ground.errors import DataError, FileError
from oneticket.ticket.names import listed


def digits() -> DataSource:
    """scikit-learn's 1,797 scanned digits, 8 x 8 grey of 17 levels, with a fixed held-out test part of 360.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """

    def read() -> Raw:
        with _undisturbed():
            from sklearn.datasets import load_digits

            found = load_digits()
        images = (found.images * 15).astype(np.uint8)[:, None]
        names = [str(name) for name in found.target_names]
        return settle(
            {"all": Split(images=images, labels=found.target.astype(np.int64), origin="its images")}, names, "digits"
        )

    return DataSource(where="digits", fingerprint=_package("scikit-learn"), streams=False, read=read)


def mnist1d() -> DataSource:
    """MNIST-1D: 4,000 / 1,000 generated signals of 40 points in 10 classes, float32 (N, 1, 1, 40), its published seed.

    Source: Greydanus and Kobak, Scaling Down Deep Learning with MNIST-1D, ICML 2024.
    """

    def read() -> Raw:
        with _undisturbed():
            from mnist1d.data import get_dataset_args, make_dataset

            made = make_dataset(get_dataset_args())
        splits = {
            name: Split(images=made[x].astype(np.float32)[:, None, None], labels=made[y].astype(np.int64), origin=name)
            for name, x, y in (("train", "x", "y"), ("test", "x_test", "y_test"))
        }
        return settle(splits, [str(digit) for digit in range(10)], "mnist1d")

    return DataSource(where="mnist1d", fingerprint=_package("mnist1d", "numpy", "scipy"), streams=False, read=read)


def npz(path: Path) -> DataSource:
    """An `.npz` file: x_train, y_train, and x_test, y_test (else a fifth is held out), and if wanted names `classes`.

    The splits may go by their other names (x_val, X_Test).

    Images are uint8 or float32 / float64, (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3, or signals (N, L).
    """
    where = str(path)

    def read() -> Raw:
        arrays, pairs, spare = _read(path)
        splits = {part: _split(arrays[x], arrays[y], f"{where}: {part}", x) for part, (x, y) in pairs.items()}
        shapes = {np.shape(split.images)[1:] for split in splits.values()}
        if len(shapes) > 1:
            raise DataError(f"{where}: training and test images differ in shape: {sorted(shapes)}")
        highest = max(int(split.labels.max(initial=0)) for split in splits.values())
        images = sum(len(split.labels) for split in splits.values())
        if highest >= max(images, 1):
            raise DataError(f"{where}: label {highest} of {images} images; labels are the numbers from 0, without gaps")
        names = _names(arrays["classes"], where) if "classes" in arrays else range(highest + 1)
        notes = [f"Arrays that are not read: {listed(spare)}"] if spare else []
        return settle(splits, [str(name) for name in names], where, notes=notes)

    return DataSource(where=where, fingerprint=fingerprint([("npz", path)])[0], streams=False, read=read)


def _read(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, tuple[str, str]], list[str]]:
    """The arrays of a set, the names of each split's images and labels, and the names of arrays that are not read."""
    try:
        with path.open("rb") as file, archive.opened(file) as entries:
            found = stored.names(entries)
            pairs = _pairs(found, str(path))
            arrays = stored.read(entries, [name for pair in pairs.values() for name in pair])
            spare = sorted(set(found) - {*arrays, "classes"})
            arrays |= stored.read(entries, ["classes"] if "classes" in found else [], kinds=stored.NUMBERS + "SU")
            return arrays, pairs, spare
    except (OSError, FileError) as error:
        raise DataError(f"{path}: cannot read this .npz file: {error}; write it again with numpy.savez") from None


def _pairs(arrays: Collection[str], where: str) -> dict[str, tuple[str, str]]:
    """The names of images and labels of each split: x_train and y_train, x_val and y_val, with any case."""
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


def _names(classes: NDArray[np.generic], where: str) -> list[object]:
    if classes.ndim != 1:
        raise DataError(f"{where}: expected the names of the classes in one dimension, got shape {classes.shape}")
    return list(classes.tolist())


def _split(x: NDArray[np.generic], y: NDArray[np.generic], where: str, origin: str) -> Split:
    count = len(x) if x.ndim else 0
    if not np.issubdtype(y.dtype, np.integer) or y.shape != (count,):
        raise DataError(f"{where}: expected {count} whole-number labels, got {y.dtype} of shape {y.shape}")
    return Split(images=_images(x, where), labels=_whole(y), origin=origin)


def _whole(y: NDArray[np.generic]) -> Ints:
    return y.astype(np.int64)


def _images(x: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    if x.dtype in (np.float32, np.float64):
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DataError(f"{where}: images hold NaN or infinite values; remove them")
    elif x.dtype != np.uint8:
        raise DataError(f"{where}: expected images of uint8 or float32, got {x.dtype}")
    if x.ndim == 2:
        return x[:, None, None]
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise DataError(f"{where}: expected images with 1 or 3 channels, (N, C, H, W) or (N, H, W, C), got shape {x.shape}")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put the global random states back: importing scikit-learn draws from one, MNIST-1D's generator seeds both."""
    ours, theirs = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)  # noqa: NPY002


def _package(*names: str) -> str:
    return digest([[name, version(name)] for name in names])
