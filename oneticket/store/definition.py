"""The definition of a step, as JSON stored with its outcome: enough to do it again from its address alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from oneticket.ground import canon
from oneticket.ground.errors import StoreError
from oneticket.store.step import VERSIONS, Step


def encode(step: Step) -> bytes:
    """Kind, version, arguments, and the addresses of what is needed. Where a book's file lies is no part of it.

    >>> step = Step(kind="rewind", args={"seed": 0})
    >>> decode(encode(step), step.key, lambda key: step) == step
    True
    """
    needs = [need.key for need in step.needs]
    plain = {"kind": step.kind, "version": VERSIONS[step.kind], "args": dict(step.args), "needs": needs}
    return canon.dumps(plain).encode()


def parse(data: bytes, key: str) -> dict[str, Any]:
    """Kind, version, arguments and the addresses of needs; ValueError unless their digest is the address."""
    try:
        plain = json.loads(data)
        if not _whole(plain) or canon.dumps(plain).encode() != data:
            raise ValueError("it is damaged: no definition of a step")
    except RecursionError as error:
        raise ValueError("it is damaged: no definition of a step") from error
    if canon.digest([plain["kind"], plain["version"], plain["args"], plain["needs"]]) != key:
        raise ValueError("it is damaged, or that of another step")
    return dict(plain)


def _whole(plain: object) -> bool:
    """Whether it has the four parts of a definition, each of its type: readers rely on them, whoever wrote it."""
    if not (isinstance(plain, dict) and plain.keys() == TYPES.keys()):
        return False
    return all(type(plain[name]) is kind for name, kind in TYPES.items()) and all(
        isinstance(need, str) and re.fullmatch("[0-9a-f]{64}", need) for need in plain["needs"]
    )


TYPES = {"kind": str, "version": int, "args": dict, "needs": list}


def decode(data: bytes, key: str, find: Callable[[str], Step]) -> Step:
    """The step with that address; `find` gives those that it needs.

    Raises ValueError if it is damaged or another's, and StoreError if it is of a version that is not done here.
    """
    plain = parse(data, key)
    kind, version = plain["kind"], plain["version"]
    if VERSIONS.get(kind) != version:
        known = f"version {VERSIONS[kind]}" if kind in VERSIONS else f"only {', '.join(VERSIONS)}"
        raise StoreError(f"step {key} is a {kind} of version {version}, and this oneticket does {known}")
    return Step(kind=kind, args=plain["args"], needs=tuple(find(need) for need in plain["needs"]))
