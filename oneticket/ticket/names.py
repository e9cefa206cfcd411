"""Names of tensors: what a name may be, and how errors list them."""

from __future__ import annotations

import re
from collections.abc import Collection

from oneticket.ground.errors import PruneError

LONGEST = 512


def check(name: object, what: str) -> str:
    """The name itself; raises PruneError unless it is text of 1 to 512 characters that UTF-8 can write."""
    if not isinstance(name, str):
        raise PruneError(f"{what}: a name must be text, got {name!r}")
    if not 0 < len(name) <= LONGEST:
        raise PruneError(f"{what}: a name must have 1 to {LONGEST} characters, got {len(name)}: {name[:40]!r}")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise PruneError(f"{what}: the name {name!r} cannot be written as UTF-8")
    return name


def listed(names: Collection[str], most: int = 6) -> str:
    """Names for an error message, sorted, the tail counted.

    >>> listed({"b", "a", "c"}, most=2)
    'a, b and 1 more'
    """
    first = sorted(names)[:most]
    rest = len(names) - len(first)
    return (", ".join(first) or "none") + (f" and {rest} more" if rest else "")


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts names with numbers as people do: `layer2` before `layer10`.

    >>> sorted(["layer10.weight", "layer2.weight"], key=natural)
    ['layer2.weight', 'layer10.weight']
    """
    parts = re.split(r"(\d{1,9})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
