"""Canonical JSON: one value, one text, one digest, on every machine and in every process."""

from __future__ import annotations

import hashlib
import json


def dumps(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII, shortest floats; NaN and infinity raise ValueError.

    >>> dumps({"b": 1, "a": [0.1, None]})
    '{"a":[0.1,null],"b":1}'
    """
    return _ENCODER.encode(value)


def digest(value: object) -> str:
    """SHA-256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(dumps(value).encode("ascii")).hexdigest()


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
