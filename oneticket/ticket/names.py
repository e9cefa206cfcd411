"""Names of tensors: what a name may be, how errors list them, and whether two sets differ by a prefix only."""

from __future__ import annotations

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


def prefix_hint(wanted: Collection[str], found: Collection[str]) -> str:
    """What to do if one side's names are the other's behind one prefix; empty if they are not.

    >>> prefix_hint({"w"}, {"module.w", "module.b"})
    "; every name asked for is there behind 'module.': hand over the inner model, `model.module`"
    """
    if not wanted:
        return ""
    first = min(wanted)
    for longer in sorted(found):
        if longer.endswith("." + first) and all(longer[: -len(first)] + name in found for name in wanted):
            prefix = longer[: -len(first)]
            inner = f"model.{prefix[:-1]}"
            return f"; every name asked for is there behind {prefix!r}: hand over the inner model, `{inner}`"
    for shorter in sorted(found):
        prefix = first[: -len(shorter)]
        if first.endswith("." + shorter) and all(n.startswith(prefix) and n[len(prefix) :] in found for n in wanted):
            return f"; every name asked for is there without {prefix!r}: the names come from a wrapped model"
    return ""
