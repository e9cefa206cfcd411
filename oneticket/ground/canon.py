"""Canonical JSON: one value, one text, one digest, on every machine and in every process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any


def dumps(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII, shortest floats; NaN and infinity raise ValueError.

    >>> dumps({"b": 1, "a": [0.1, None]})
    '{"a":[0.1,null],"b":1}'
    """
    return _ENCODER.encode(value)


class Written(dict[str, Any]):
    """An immutable mapping whose canonical text is computed once, since thousands of addresses contain it."""

    text: str

    def __init__(self, value: Mapping[str, Any]) -> None:
        super().__init__(value)
        self.text = joined(self)


def joined(value: Mapping[str, Any]) -> str:
    """What `dumps` makes of a mapping, put together from what is written of its values already.

    >>> joined({"b": Written({"c": 1}), "a": None}) == dumps({"b": {"c": 1}, "a": None})
    True
    """
    return "{" + ",".join([f"{encode_basestring_ascii(name)}:{_text(value[name])}" for name in sorted(value)]) + "}"


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is int:
        return str(value)
    return str(value.text) if kind is Written else dumps(value)


def digest_of(text: str) -> str:
    """SHA-256 of a canonical text."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def digest(value: object) -> str:
    """SHA-256 of a value's canonical JSON, as 64 hex digits."""
    return digest_of(dumps(value))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
