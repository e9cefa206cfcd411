"""A map written by hand: which names of a ticket go to which names of a model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from oneticket.ground.errors import WrongTransferError, unknown
from oneticket.ticket.match import plain
from oneticket.ticket.names import listed


def given(
    names: Mapping[str, str | None], wanted: Collection[str], found: Collection[str], *, optional: Collection[str] = ()
) -> dict[str, str | None]:
    """What a map written by hand says of the names asked for: name -> the model's name, or None for "not used".

    The map goes from the ticket's names to the model's. A key that ends with "." and the key "" are prefixes. A key
    with `*` is a pattern: its stars match as little as possible and fill the stars of its value in order. Any other key
    is a full name. Full names come first, then the longest key. A value may omit wrapper segments. An `optional` name
    is dropped if a prefix or pattern maps it to a name that the model lacks.

    Raises TransferError for a key that matches nothing, a value that is not in the model, or two names for one tensor.

    >>> given({"": "bert.", "pooler.": None, "*.gamma": "*.weight"},
    ...       ["norm.gamma", "norm.bias", "pooler.weight"], ["norm.weight", "bert.norm.bias"])
    {'norm.gamma': 'norm.weight', 'norm.bias': 'bert.norm.bias', 'pooler.weight': None}
    """
    _check(names, wanted, found)
    order = sorted(names, key=lambda key: (_is_wide(key), -len(key.replace("*", ""))))
    theirs = {plain(name): name for name in found} | {name: name for name in found}
    out: dict[str, str | None] = {}
    taken: dict[str, str] = {}
    for name in wanted:
        key = next((key for key in order if _fits(key, name)), None)
        if key is None:
            continue
        value = names[key]
        said = None if value is None else _image(key, value, name)
        if said is None or (said not in theirs and name in optional and _is_wide(key)):
            out[name] = None
            continue
        if said not in theirs:
            raise WrongTransferError(
                f"names[{key!r}] sends {name!r} to a tensor that the model lacks: {_near(said, found)}"
            )
        goal = out[name] = theirs[said]
        if taken.setdefault(goal, name) != name:
            raise WrongTransferError(f"names: {taken[goal]!r} and {name!r} both go to {goal!r}; give one of them None")
    return out


def _check(names: Mapping[str, str | None], wanted: Collection[str], found: Collection[str]) -> None:
    if not isinstance(names, Mapping):
        raise WrongTransferError(f"names: expected a mapping from the ticket's names to the model's, got {names!r}")
    for key, value in names.items():
        if not isinstance(key, str) or not isinstance(value, str | None):
            raise WrongTransferError(f"names: expected text to text or None, got {key!r}: {value!r}")
        if value is not None and _is_prefix(key) != _is_prefix(value):
            raise WrongTransferError(
                f"names[{key!r}]: a prefix goes to a prefix, with a dot at its end or empty, got {value!r}"
            )
        if value is not None and key.count("*") != value.count("*"):
            raise WrongTransferError(f"names[{key!r}]: key and value must have the same number of stars, got {value!r}")
        if not any(_fits(key, name) for name in wanted):
            turned = any(_fits(key, name) for name in found)
            more = "; it is a name in the model: the map goes from the ticket's names to the model's" if turned else ""
            raise WrongTransferError(
                f"names[{key!r}] matches no tensor of the ticket, which has {listed(wanted)}{more}"
            )


def _is_prefix(key: str) -> bool:
    return not key or key.endswith(".")


def _is_wide(key: str) -> bool:
    return _is_prefix(key) or "*" in key


def _fits(key: str, name: str) -> bool:
    return name.startswith(key) if _is_prefix(key) and "*" not in key else _stars(key).fullmatch(name) is not None


def _image(key: str, value: str, name: str) -> str:
    if "*" not in key:
        return value + name.removeprefix(key)
    filled = _stars(key).fullmatch(name)
    assert filled is not None
    parts = value.split("*")
    return "".join(a + b for a, b in zip(parts, [*filled.groups(), ""], strict=True))


def _stars(key: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(map(re.escape, key.split("*"))))


def _near(name: str, found: Collection[str]) -> str:
    return unknown("name", name, found) if len(found) <= 24 else f"{name!r}; it has {listed(found)}"
