"""The tickets that ship with the package, found by name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from oneticket.ground.errors import WrongFileError

ZOO = Path(__file__).parents[1] / "zoo"


def shipped() -> dict[str, Path]:
    """Name -> file, for the tickets in the package, sorted by name.

    >>> shipped()["digits-a"].name
    'digits-a.safetensors'
    """
    return {path.stem: path for path in sorted(ZOO.glob("*.safetensors"))}


def named(where: str | os.PathLike[str]) -> Path | None:
    """The file of the shipped ticket of that name; None for other names, and for a name that is also a path.

    >>> named("digits-a").name, named("no-such-ticket")
    ('digits-a.safetensors', None)
    """
    return None if os.path.lexists(where) else shipped().get(os.fsdecode(where))


def located(where: str | os.PathLike[str]) -> Path:
    """The path if it exists, or else the shipped ticket of that name.

    Raises FileError with the nearest names if there is neither.

    >>> located("digits-a") == shipped()["digits-a"]
    True
    """
    text = os.fsdecode(where)
    path = named(text) or Path(text)
    if text and os.path.lexists(path):  # Path makes the empty text this folder, which is not meant
        return path
    raise WrongFileError(missing(text))


def missing(text: str) -> str:
    """A sentence on a place that is not there, with the nearest names: of shipped tickets, and of what lies beside it.

    >>> missing("digit-a").partition(";")[2].partition("?")[0]
    " did you mean 'digits-a'"
    """
    path, names = Path(text), shipped()
    there = sorted(entry.name for entry in path.parent.iterdir()) if text and path.parent.is_dir() else []
    without = {name: Path(name).stem for name in [*names, *there]}  # names alike in their ending alone are not near
    stems = difflib.get_close_matches(path.stem, {*without.values()}, n=3)
    near = [name for stem in stems for name in without if without[name] == stem][:3]
    known = f"shipped are {', '.join(names)}" if names else "none is shipped"
    if len(path.parts) > 1 and not there:
        hint = f"the folder {path.parent} is empty or not there"
    else:
        hint = (
            f"did you mean {' or '.join(repr(name) for name in near)}?" if near else "nothing there has a name near it"
        )
    return f"{text or 'the empty path'}: No such file or folder, and no shipped ticket; {hint} ({known})"


DATA_LICENCES = {
    "mlp-letter": "CC BY 4.0, UCI Letter Recognition, P. W. Frey and D. J. Slate",
    "mlp-penbased": "CC BY 4.0, UCI Pen-Based Recognition of Handwritten Digits, E. Alpaydin and F. Alimoglu",
}
"""Licence of the data of shipped tickets that were found on no known set."""
