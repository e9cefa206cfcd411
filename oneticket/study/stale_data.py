"""Data that changed under a study: work is there for another digest, so what is planned now is other work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.ground.canon import dumps
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.steps import training_step

DIGEST = "data_digest"


def changed(steps: Iterable[Step], store: Store) -> dict[str, tuple[str, str]]:
    """The datasets, by name, of which the store holds work under another digest alone: (that digest, the one now)."""
    if not (kept := store.keys()):
        return {}
    asked = [step for step in steps if DIGEST in step.args]
    there = store.there(step.key for step in asked)
    lacking = [step for step in asked if step.key not in there]
    if not lacking:
        return {}
    known: dict[str, str] = {}
    for plain in store.definitions(kept).values():
        if DIGEST in plain.get("args", {}):
            known[_else(plain["kind"], plain["args"])] = plain["args"][DIGEST]
    if not known:
        return {}
    found = {}
    for step in lacking:
        before = known.get(_else(step.kind, step.args))
        if before not in (None, step.args[DIGEST]):
            found[training_step(step).target.data.called] = (str(before), str(step.args[DIGEST]))
    return found


def changes(steps: Iterable[Step], store: Store) -> list[str]:
    """Which data of these steps are not what they were when the store's work was done, in a line each."""
    return [
        f"{name} is not what it was: digest {before[:12]} then, {now[:12]} now; what was trained on it is done anew"
        for name, (before, now) in changed(steps, store).items()
    ]


def _else(kind: str, args: Mapping[str, Any]) -> str:
    """All that a step is asked for but the content of its data."""
    return dumps([kind, {name: value for name, value in args.items() if name != DIGEST}])
