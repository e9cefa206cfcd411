"""The errors meant for users, and the words they share."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence


class OneticketError(Exception):
    """Base of every error that tells users what to correct. Any other exception is our bug."""


class RequestError(OneticketError):
    """What was asked for is wrong: another name, file, value or combination is the remedy. The exit code is then 2.

    All other errors of ours are failures, with exit code 1: the request was right, but the machine or the network
    failed, a file is damaged, a training failed, or somebody else's code raised an error. Where an error of one kind
    can be either, the class that begins with `Wrong` is the request's.
    """


class SpecError(RequestError):
    """A setting is unknown, impossible or of the wrong unit."""


class DataError(OneticketError):
    """A dataset is missing, damaged or different from its spec."""


class SelectionError(SpecError, DataError):
    """A dataset does not have what the spec asks for: enough classes or examples, or a setting that it supports."""


class WrongDataError(RequestError, DataError):
    """The dataset does not exist, or is of another kind than was asked for."""


class ModelError(OneticketError):
    """A model cannot be built, used or exported."""


class WrongModelError(RequestError, ModelError):
    """There is no such model, it does not fit what it is asked for, or has no part that the request names."""


class PruneError(OneticketError):
    """Weights cannot be pruned: their scores or values are NaN, or a criterion of the user's own failed."""


class WrongPruneError(RequestError, PruneError):
    """A pruning request cannot be done exactly as asked."""


class FileError(OneticketError):
    """A ticket or book file cannot be read or written, is damaged, inconsistent or from a newer version."""


class WrongFileError(RequestError, FileError):
    """The file does not exist, is of another kind, or lacks the part that was asked for."""


class TransferError(OneticketError):
    """A ticket cannot be transferred; the model is untouched."""


class WrongTransferError(RequestError, TransferError):
    """A ticket and a model, or several sources, do not fit, or the transfer needs what the request does not give."""


class GuardError(OneticketError):
    """A mask cannot be held, or was found not to hold."""


class TrainingError(OneticketError):
    """A training run broke off, for example because its loss is no longer finite."""


class StoreError(OneticketError):
    """Results cannot be kept or read back."""


class WrongStoreError(RequestError, StoreError):
    """A store's address is not valid, or names a store that cannot be used so."""


class KeptWarning(UserWarning):
    """A stored file is not used: it is damaged, belongs to something else, or is of another version.

    Or a run goes on with fewer workers than there is room for, since no more start.
    """


def tell(path: object, why: object, then: str = "it is made anew") -> None:
    """Warn in one line which stored file is not used, why, and what happens instead."""
    warnings.warn(f"{path}: {'; '.join(filter(None, (str(why), then)))}", KeptWarning, stacklevel=3)


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """Words for a name that is not in a table, with the nearest name first.

    >>> unknown("optimizer", "SGD", ["adam", "sgd"])
    "unknown optimizer 'SGD'; did you mean 'sgd'? Known: adam, sgd"
    """
    names = sorted(known)
    near = nearest(given, names)
    hint = f"; did you mean {near!r}?" if near else "."
    shown = repr(given) if len(repr(given)) <= 80 else repr(given)[:77] + "..."
    return f"unknown {kind} {shown}{hint} Known: {', '.join(names)}"


def nearest(given: object, names: Sequence[str]) -> str:
    """The name that was probably meant, or nothing: equal but for case and hyphens, with this beginning, or similar.

    >>> nearest("gpu", ["cpu", "cuda"]), nearest("AdamW", ["adam", "adamw"]), nearest("resnet20", ["resnet-20", "mlp"])
    ('cuda', 'adamw', 'resnet-20')
    """
    text = str(given)
    plain = {_plain(name): name for name in names}
    for candidate in (_plain(text), *ELSEWHERE.get(_plain(text), ())):
        if candidate and candidate in plain:
            return plain[candidate]
    begun = [name for name in names if text and name.startswith(text)]
    near = begun or [plain[name] for name in difflib.get_close_matches(_plain(text), plain, n=1)]
    return near[0] if near else ""


def _plain(name: str) -> str:
    """A name without what people write differently: capitals, hyphens, underscores, spaces."""
    return name.lower().translate({ord(mark): None for mark in "-_ "})


ELSEWHERE = {
    "gpu": ("cuda", "mps"),
    "metal": ("mps",),
    "random": ("globalrandom",),
    "randomticket": ("globalrandom",),
    "layerwise": ("layerwiserandom",),
    "reinitialize": ("reinit",),
    "fashion": ("fashionmnist",),
    "momentum": ("sgd",),
    "lenet": ("lenet300100",),
}
"""Names in other tools, and their names here; letters and digits only."""
