"""The ledger: what each search cost, over its replicates, and what its tickets saved those who took them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.cells import Cell, Origin, distinct_labels
from oneticket.study.plan import closure
from oneticket.study.rows import Row
from oneticket.study.steps import LevelStep, read_step, training_step, trains


def ledger(origins: Iterable[Origin], cells: Sequence[Cell], store: Store) -> list[Row]:
    """One row per source. Spared is a search where its ticket was trained and none was done: on another target, with
    another optimizer, in one replicate. Several sources may spare the same one.
    """
    groups: dict[tuple[tuple[str, object], ...], list[Origin]] = {}
    called = distinct_labels(origins := list(origins))
    for origin in origins:
        groups.setdefault(tuple(called[origin.levels[0].key].items()), []).append(origin)
    tickets = [cell for cell in cells if cell.arm == "ticket" and cell.origin]
    there = store.records(cell.step for cell in tickets)
    done = [cell for cell in tickets if cell.step.key in there]
    searched = {(origin.called.data, origin.called.optimizer) for origin in origins}
    return [_row(dict(about), searches, done, searched, store) for about, searches in groups.items()]


def _row(
    labels: Row,
    searches: Sequence[Origin],
    done: Sequence[Cell],
    searched: Set[tuple[object, object]],
    store: Store,
) -> Row:
    planned = closure(step for each in searches for step in each.levels)
    records = store.records(planned)
    steps = [step for step in planned if step.key in records and trains(step)]
    provenances = store.provenances(records)
    seconds = sum(float(provenances.get(step.key, {}).get("seconds", 0.0)) for step in steps)
    roots = {each.levels[0].key for each in searches}
    transferred = {
        c.step.key: c.labels for c in done if c.origin and c.origin.levels and c.origin.levels[0].key in roots
    }
    places = {(row["target_data"], row["target_optimizer"], row["replicate"]) for row in transferred.values()}
    takers = [context for context in places if context[:2] not in searched]
    trained = [level for level in map(read_step, steps) if isinstance(level, LevelStep)]
    return {
        **labels,
        "replicates": len({level.replicate for level in trained}),
        "levels": 1 + max((level.number for level in trained), default=-1),
        "trainings": len(trained),
        "steps": sum(record.get("steps", record.get("step", 0)) for record in records.values()),
        "examples": sum(_examples(step, records) for step in steps),
        "seconds": seconds,
        "transferred": len(transferred),
        "searches_saved": len(takers),
        "seconds_saved": seconds / len(searches) * len(takers),
    }


def _examples(step: Step, records: Mapping[str, Mapping[str, Any]]) -> int:
    """Examples in a step's training; for the rewind point, which is not measured, by its settings."""
    record = records[step.key]
    return int(record.get("examples", record.get("step", 0) * training_step(step).spec.training.batch))
