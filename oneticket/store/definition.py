"""The definition of a step, as the JSON that lies beside its outcome: enough to do it again from its address alone."""

from __future__ import annotations

import json
from collections.abc import Callable

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


def decode(data: bytes, key: str, find: Callable[[str], Step]) -> Step:
    """The step with that address; `find` gives those that it needs.

    Raises ValueError if it is damaged, which a step shows whose own address is not the one asked for, and StoreError if
    it is of a version that is not done here.
    """
    try:
        plain = json.loads(data)
        kind, version, args, needs = (plain[part] for part in ("kind", "version", "args", "needs"))
        if VERSIONS.get(kind) != version:
            known = f"version {VERSIONS[kind]}" if kind in VERSIONS else f"only {', '.join(VERSIONS)}"
            raise StoreError(f"step {key} is a {kind} of version {version}, and this oneticket does {known}")
        step = Step(kind=kind, args=dict(args), needs=tuple(find(need) for need in needs))
        if step.key != key:
            raise ValueError("it is that of another step")
    except (KeyError, TypeError) as error:
        raise ValueError(f"it cannot be read ({error!r})") from error
    return step
