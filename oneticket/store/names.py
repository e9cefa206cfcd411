"""Names in a store: which file holds what of which step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from oneticket.ground.note import FORMAT

OUTCOME, PROVENANCE, DEFINITION, DRIFT, DAMAGED = "safetensors", "json", "step.json", "drift-", "damaged"
ROOM = f"format-{FORMAT}"
"""The folder of all that this version writes and reads; format 1 had none."""

INDEX = f"{ROOM}/index"
"""The content of the small files, read once: a cache, which `store/index` writes and checks."""

UNDER_WAY = f"{ROOM}/under-way"
CLAIM, HEIR, CHECKPOINT, FAILURE = (f"under-way/{what}" for what in ("claim", "heir", "safetensors", "failed.json"))

_OURS = re.compile(
    r"(?:format-(?P<format>\d{1,9})/)?(?P<room>under-way|[0-9a-f]{2})/(?P<hidden>\.?)(?P<key>[0-9a-f]{64})\.(?P<what>.+)"
)


class Name(NamedTuple):
    """A file's step and what it holds of it; `cut`: left by an unfinished write."""

    key: str
    what: str
    cut: bool


def name(key: str, what: str) -> str:
    """Where that lies: with the outcomes, under the address's first digits, or with what is under way.

    >>> name("ab" * 32, DEFINITION)[:17], name("ab" * 32, CLAIM)[:24], name("ab" * 32, CLAIM)[-8:]
    ('format-2/ab/ababa', 'format-2/under-way/ababa', 'ab.claim')
    """
    room, _, ending = what.rpartition("/")
    return f"{ROOM}/{room or key[:2]}/{key}.{ending}"


def split(name: str) -> Name | None:
    """The parts of a name; None for one that no store of this format gave.

    >>> split(name("ab" * 32, OUTCOME)).what, split("under-way/notes.txt")
    ('safetensors', None)
    """
    found = _matched(name)
    if found is None or _format(found) != FORMAT:
        return None
    what = f"under-way/{found['what']}" if found["room"] == "under-way" else found["what"]
    return Name(found["key"], what, bool(found["hidden"]))


def others(listed: Iterable[str]) -> dict[str, int]:
    """Those of the listed names that a store of another format gave: name -> its format.

    >>> key = "ab" * 32
    >>> list(others([f"ab/{key}.safetensors", f"format-7/ab/{key}.json", name(key, OUTCOME), "notes.txt"]).values())
    [1, 7]
    """
    strange = (name for name in listed if not name.startswith(f"{ROOM}/"))
    found = {name: _format(of) for name in strange if (of := _matched(name))}
    return {name: version for name, version in found.items() if version != FORMAT}


def holding(what: str, listed: Iterable[str]) -> dict[str, str]:
    """Those of the listed names that hold that, and the addresses that they are for.

    >>> holding(OUTCOME, [name("ab" * 32, OUTCOME), name("ab" * 32, CHECKPOINT)]).keys()
    dict_keys(['format-2/ab/abababababababababababababababababababababababababababababababab.safetensors'])
    """
    end = f".{what.rpartition('/')[2]}"
    parts = {name: split(name) for name in listed if (name.endswith(end) if what != DRIFT else end in name)}
    return {name: of.key for name, of in parts.items() if of and not of.cut and _matches(of.what, what)}


def _matched(name: str) -> re.Match[str] | None:
    found = _OURS.fullmatch(name)
    return found if found is not None and found["room"] in ("under-way", found["key"][:2]) else None


def _format(found: re.Match[str]) -> int:
    return int(found["format"] or 1)


def _matches(found: str, asked: str) -> bool:
    return found.startswith(asked) and found.endswith(".json") if asked == DRIFT else found == asked
