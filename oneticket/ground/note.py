"""A note: a JSON value as one line of text with its subject and a digest, so that no changed bit goes unnoticed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from oneticket.ground.canon import digest, dumps
from oneticket.ground.errors import StoreError

FORMAT = 2
"""Of everything that oneticket keeps for itself. Format 1 named no address, and had no digest in most files."""


def write(kind: str, of: str, value: object) -> str:
    """The note's text: canonical JSON of `format`, `kind`, `of`, `value`, and the `digest` of these.

    `kind`: what the note is; `of`: its subject, an address or a name.

    >>> read(write("colour", "sky", "blue"), "colour", "sky")
    'blue'
    """
    said = {"format": FORMAT, "kind": kind, "of": of, "value": value}
    return dumps({**said, "digest": digest(said)})


def read(text: str | bytes, kind: str, of: str) -> Any:
    """The value of a note that is whole, and that thing's; raises StoreError with the reason.

    >>> read(write("colour", "sky", "blue"), "colour", "sea")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.StoreError: it is that of sky, not of sea
    """
    text, said = _parsed(text)
    if not {"format", "digest"} & said.keys():
        raise StoreError("an earlier version of oneticket wrote it, or another program")
    version = said.get("format")
    if type(version) is int and version > FORMAT:
        raise StoreError(f"it says format {version}, and this oneticket reads {FORMAT}: of a newer one, or damaged")
    if said.pop("digest", None) != _digest(text) or said.keys() != {"format", "kind", "of", "value"}:
        raise StoreError("its content has another digest than it says: it is damaged")
    if version != FORMAT:
        raise StoreError(f"it is of format {version}, and this oneticket reads {FORMAT}: of an earlier one")
    if said["kind"] != kind:
        raise StoreError(f"it is a {said['kind']}, not a {kind}")
    if said["of"] != of:
        raise StoreError(f"it is that of {said['of']}, not of {of}")
    return said["value"]


def _digest(text: str) -> str:
    """The digest of a canonical text without its own digest, which comes first in it."""
    return hashlib.sha256(f"{{{text[len(_BEGINNING) :]}".encode()).hexdigest()


def sum_of(text: str) -> str:
    """The digest that a note states, unchecked."""
    return str(_parsed(text)[1]["digest"])


def _parsed(text: str | bytes) -> tuple[str, dict[str, Any]]:
    """The text, and the mapping in it; StoreError if it is none, or not as `write` writes it."""
    if not text:
        raise StoreError("it is empty")
    try:
        text = text if isinstance(text, str) else text.decode("ascii")
        said = json.loads(text)
        canonical = dumps(said) == text
    except (ValueError, RecursionError) as error:
        raise StoreError("it is cut short or damaged: no JSON") from error
    if not isinstance(said, dict):
        raise StoreError("it is damaged: no mapping")
    if not canonical and {"format", "digest"} & said.keys():
        raise StoreError("it is damaged: its text is not canonical")
    return text, said


_BEGINNING = dumps({"digest": "0" * 64})[:-1] + ","
