"""The errors meant for users, and the words they share."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence


class OneticketError(Exception):
    """Base of every error that tells users what to correct. Any other exception is our bug."""


class RequestError(OneticketError):
    """What was asked for is wrong: another name, file, value or combination is the remedy. The exit code is then 2.

    All other errors of ours are failures, with exit code 1: the request was right, but the world refused, a file is
    damaged, or a training failed.
    """


class SpecError(RequestError):
    """A setting is unknown, impossible or of the wrong unit."""


class DataError(OneticketError):
    """A dataset is missing, damaged or different from its spec."""


class SelectionError(SpecError, DataError):
    """A dataset does not have what the spec asks for: enough classes or examples, or a setting that it supports."""


class WrongDataError(RequestError, DataError):
    """There is no such dataset, or it is not of a kind that the request can mean."""


class ModelError(RequestError):
    """A model cannot be built, or has no part that the request names."""


class PruneError(RequestError):
    """A pruning request cannot be done exactly as asked."""


class FileError(OneticketError):
    """A ticket or book file is damaged, of another kind, inconsistent or from a newer version."""


class WrongFileError(RequestError, FileError):
    """There is no such ticket, book or checkpoint, or it is not of the kind, or has not the part, that is asked for."""


class TransferError(OneticketError):
    """A ticket and a model do not fit; the model is untouched."""


class WrongSourceError(RequestError, TransferError):
    """These sources do not go together, or they need what the request does not allow."""


class GuardError(OneticketError):
    """A mask cannot be held, or was found not to hold."""


class TrainingError(OneticketError):
    """A training run broke off, for example because its loss is no longer finite."""


class StoreError(OneticketError):
    """Results cannot be kept or read back."""


class WrongStoreError(RequestError, StoreError):
    """What should be a store's or a cluster's address is none."""


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
