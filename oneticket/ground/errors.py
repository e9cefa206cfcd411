"""The errors meant for users, and the words they share."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class OneticketError(Exception):
    """Base of every error that tells a user what to mend. Anything else that escapes is our bug."""


class SpecError(OneticketError):
    """A setting is unknown, impossible or of the wrong unit."""


class DataError(OneticketError):
    """A dataset is missing, damaged or not what its spec says."""


class ModelError(OneticketError):
    """A model cannot be built, or has no part that the request names."""


class PruneError(OneticketError):
    """A pruning request cannot be carried out exactly as asked."""


class FileError(OneticketError):
    """A ticket or book file is damaged, foreign, untruthful or from a newer version."""


class CarryError(OneticketError):
    """A ticket and a model do not fit; the model is untouched."""


class GuardError(OneticketError):
    """A mask cannot be held, or was found not to hold."""


class TrainingError(OneticketError):
    """A training run broke off, for example because its loss is no longer finite."""


class StoreError(OneticketError):
    """Results cannot be kept or read back."""


class KeptWarning(UserWarning):
    """Something that was kept is not used: it is damaged, of something else, or of another version."""


def tell(path: object, why: object, then: str = "it is made anew") -> None:
    """Tell in one line which kept file is not used, why, and what happens instead."""
    warnings.warn(f"{path}: {'; '.join(filter(None, (str(why), then)))}", KeptWarning, stacklevel=3)


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """Words for a name that is not in a table, with the nearest names first.

    >>> unknown("optimizer", "sdg", ["adam", "sgd"])
    "unknown optimizer 'sdg'; did you mean 'sgd'? Known: adam, sgd"
    """
    names = sorted(known)
    begun = [name for name in names if given and name.startswith(str(given))]
    near = begun or difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    shown = repr(given) if len(repr(given)) <= 80 else repr(given)[:77] + "..."
    return f"unknown {kind} {shown}{hint} Known: {', '.join(names)}"
