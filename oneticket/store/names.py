"""Names in a store: which file holds what of which step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

OUTCOME, PROVENANCE, DEFINITION, DRIFT, DAMAGED = "safetensors", "json", "step.json", "drift-", "damaged"
UNDER_WAY = "under-way"
CLAIM, HEIR, CHECKPOINT, FAILURE = (f"under-way/{what}" for what in ("claim", "heir", "safetensors", "failed.json"))

_OURS = re.compile(r"(?P<room>under-way|[0-9a-f]{2})/(?P<hidden>\.?)(?P<key>[0-9a-f]{64})\.(?P<what>.+)")


class Name(NamedTuple):
    """A file's step and what it holds of it; `cut` says that it was left by a write that never ended."""

    key: str
    what: str
    cut: bool


def name(key: str, what: str) -> str:
    """Where that lies: with the outcomes, under the address's first digits, or with what is under way.

    >>> name("ab" * 32, DEFINITION)[:8], name("ab" * 32, CLAIM)[:15], name("ab" * 32, CLAIM)[-8:]
    ('ab/ababa', 'under-way/ababa', 'ab.claim')
    """
    room, _, ending = what.rpartition("/")
    return f"{room or key[:2]}/{key}.{ending}"


def split(name: str) -> Name | None:
    """The parts of a name; None for one that no store gave.

    >>> split(name("ab" * 32, OUTCOME)).what, split("under-way/notes.txt")
    ('safetensors', None)
    """
    found = _OURS.fullmatch(name)
    if found is None or found["room"] not in (UNDER_WAY, found["key"][:2]):
        return None
    what = f"{UNDER_WAY}/{found['what']}" if found["room"] == UNDER_WAY else found["what"]
    return Name(found["key"], what, bool(found["hidden"]))


def holding(what: str, listed: Iterable[str]) -> dict[str, str]:
    """Those of the listed names that hold that, and the addresses that they are for.

    >>> holding(OUTCOME, [name("ab" * 32, OUTCOME), name("ab" * 32, CHECKPOINT)]).keys()
    dict_keys(['ab/abababababababababababababababababababababababababababababababab.safetensors'])
    """
    parts = {name: split(name) for name in listed}
    return {name: of.key for name, of in parts.items() if of and not of.cut and _matches(of.what, what)}


def _matches(found: str, asked: str) -> bool:
    return found.startswith(asked) if asked == DRIFT else found == asked
