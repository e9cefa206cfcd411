"""The design of a study: what was stated before its first training, with its digest, and how it changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from oneticket.ground.canon import digest, dumps
from oneticket.store.designs import file_of
from oneticket.store.plans import FOLDER
from oneticket.store.store import Store
from oneticket.study.cells import Cell
from oneticket.study.grid import Plan
from oneticket.study.spec import CLAIMS
from oneticket.study.steps import training_step

RULES = 3
"""Of the claims known by name. Raise it when one of them comes to be decided otherwise."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A design as the store has it, when it was first run, and how many networks of the study were there by then."""

    design: Mapping[str, Any]
    date: str
    trained: int


def design(plan: Plan) -> dict[str, Any]:
    """What a study states of its verdicts, as plain JSON: claims, densities, margin, complexity, and what is compared.

    Each claim comes with its sentence, or with the digest of its code; each part with its replicates, levels, seeds,
    with what is equal and how steps are counted, and with the settings behind the names of its sets, models and
    optimizers.

    >>> design(Plan(name="mine", cells=(), claims=("C1",), margin=0.02))["claims"]
    {'C1': 'Tickets beat random tickets on their own data.'}
    """
    made = {
        "claims": {name: CLAIMS.digest(name) or CLAIMS[name] for name in plan.claims},
        "rules": RULES,
        "densities": {f"{density:g}": level for density, level in plan.densities.items()},
        "margin": plan.margin,
        "complexity": plan.complexity.plain(),
        "parts": {name: dict(part) for name, part in (plan.parts or _parts(plan)).items()},
    }
    return dict(json.loads(dumps(made)))


def digest_of(made: Mapping[str, Any]) -> str:
    """The digest of a design: SHA-256 of its canonical JSON, as 64 hex digits.

    >>> digest_of({"parts": {}})[:8] == digest_of({"parts": {}})[:8], len(digest_of({}))
    (True, 64)
    """
    return digest(made)


def keep_study(plan: Plan, store: Store) -> None:
    """Write into the store what a study states and which steps it asks for: call it before every run."""
    keep_design(plan, store)
    keep_plan(plan, store)


def keep_design(plan: Plan, store: Store) -> None:
    """Write the design into the store, in addition to earlier ones, unless it is the last of them."""
    found, now = kept_designs(plan, store), design(plan)
    if not found or found[-1].design != now:
        store.designs.add(plan.name, {"design": now, "trained": trained(plan, store)})


def trained(plan: Plan, store: Store) -> int:
    """How many networks of a study are there: of those that it asks for, and that it asked for when it was last run."""
    before = store.plans.read([file_of(plan.name, FOLDER)])
    return len(store.there({*(cell.step.key for cell in plan.cells), *(key for one in before for key in one.cells)}))


def keep_plan(plan: Plan, store: Store) -> None:
    """Write into the store which steps the study asks for, in place of an earlier plan."""
    parts: dict[str, list[str]] = {}
    for cell in plan.cells:
        parts.setdefault(cell.part or plan.name, []).append(cell.step.key)
    steps = [step.key for step in plan.steps]
    store.plans.write(plan.name, title=plan.title, parts=parts, steps=steps)


def kept_designs(plan: Plan, store: Store) -> tuple[Kept, ...]:
    """The designs that a study of that name was run with, the first one first; none where they were lost."""
    kept = store.designs.read(plan.name)
    return tuple(Kept(design=one["design"], date=one["date"], trained=one["trained"]) for one in kept)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The fields that differ, each with what it was and what it is; not what an earlier version did not keep of a part.

    >>> changes({"margin": 0.02, "parts": {"a": {"levels": [5]}}}, {"margin": 0.02, "parts": {"a": {"levels": [9]}}})
    ['parts.a.levels from 5 to 9']
    """
    known = before.get("parts", {})
    parts = {
        name: {field: value for field, value in part.items() if field in known.get(name, part)}
        for name, part in now.get("parts", {}).items()
    }
    one, other = dict(_flat(before)), dict(_flat({**now, "parts": parts}))
    fields = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    return [f"{name} from {_word(one.get(name))} to {_word(other.get(name))}" for name in fields]


def design_doubts(plan: Plan, kept: Sequence[Kept], *, trained: int) -> list[str]:
    """Warnings about a design that was stated or changed after the first training; empty if there was none.

    `trained`: the number of networks of the study that are trained now, as the function `trained` counts them.
    """
    if not trained:
        return []
    if not kept:
        return ["The store has no design from before these networks were trained: it may have been chosen by them."]
    found = []
    if kept[0].trained:
        found.append(f"The design was first kept on {kept[0].date}, when {kept[0].trained:,} networks were trained.")
    steps = [*((one.design, one.date, one.trained) for one in kept), (design(plan), "", trained)]
    for (before, _, _), (now, date, there) in pairwise(steps):
        differ = changes(before, now)
        if differ and there:
            when = f"on {date}" if date else "since the last run"
            found.append(f"The design was changed {when}, when {there:,} networks were trained: {'; '.join(differ)}.")
    return found


def _parts(plan: Plan) -> dict[str, dict[str, Any]]:
    """The parts of a plan's cells, if no study file made it."""
    made: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        made.setdefault(cell.part, []).append(cell)
    return {
        name: {
            "levels": sorted({cell.level for cell in cells if cell.level}),
            "replicates": len({cell.replicate for cell in cells}),
            "head_start": sorted({str(cell.head_start) for cell in cells}),
            "seed": sorted({training_step(cell.step).spec.seed for cell in cells}),
        }
        for name, cells in made.items()
    }


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{before}{name}.")
        else:
            yield f"{before}{name}", each


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
