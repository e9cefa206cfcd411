"""Rows: one flat record per trained network of a comparison, the same columns whatever trained it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.ground.metric import Metric, score_of
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.cells import Cell, Origin
from oneticket.study.steps import training_step

Row = dict[str, Any]
Records = Mapping[str, Mapping[str, Any]]

COLUMNS = (
    *("arm", "model", "source_data", "source_optimizer", "target_data", "target_optimizer"),
    *("level", "density", "replicate", "metric", "score", "unit", "better", "accuracy", "loss", "seconds"),
    *(
        "train_loss",
        "commonest",
        "living",
        "natural_zeros",
        "steps",
        "examples",
        "budget",
        "batch",
        "lr",
        "weight_decay",
        "schedule",
    ),
    *("criterion", "scope", "granularity", "shots", "rewind", "head", "seed", "device", "threads", "how", "part"),
    *("source_id", "source_name", "source_classes", "source_images", "target_name", "target_classes", "target_images"),
    *("data_digest", "key"),
)


def rows(cells: Iterable[Cell], store: Store) -> list[Row]:
    """The rows of those cells whose networks are trained, in the order given; a network in two cells has two rows."""
    cells = list(cells)
    origins = [cell.origin for cell in cells if cell.origin]
    records = store.records({step.key: step for step in [*(c.step for c in cells), *map(_home, origins)]}.values())
    provenances = store.provenances({cell.step.key for cell in cells})
    there = [cell for cell in cells if cell.step.key in records]
    return [_row(cell, records, provenances.get(cell.step.key, {})) for cell in there]


def _row(cell: Cell, records: Records, provenance: Mapping[str, Any]) -> Row:
    step, search = cell.step, cell.origin.search if cell.origin else {}
    target, record = training_step(step).spec.plain(), records[step.key]
    source = _source(cell.origin, records)
    known = {
        "seconds": provenance.get("seconds"),
        "device": provenance.get("device"),
        "threads": provenance.get("threads"),
        "how": provenance.get("how", ""),
        "rewind": search.get("rewind"),
        "head": target.get("head"),
        "seed": target["seed"],
        "source_id": cell.origin.file.id if cell.origin and cell.origin.file else None,
        "source_name": search["data"]["name"] if search else None,
        "source_classes": source.get("classes"),
        "source_images": source.get("images"),
        "target_name": target["data"]["name"],
        "key": step.key,
        **{name: target["training"][name] for name in ("budget", "batch")},
        **{name: target["optimizer"][name] for name in ("lr", "weight_decay", "schedule")},
        **{name: search.get("pruning", {}).get(name) for name in ("criterion", "scope", "granularity", "shots")},
        **record,
        **Metric.of(record).plain(),
        "score": score_of(record),
        "target_classes": record.get("classes"),
        "target_images": record.get("images"),
        **cell.labels,
    }
    return {column: known.get(column) for column in COLUMNS}


def _home(origin: Origin) -> Step:
    """The step that knows most of where a ticket was found: the dense network of its search, or its file."""
    return origin.file.step if origin.file else origin.levels[0]


def _source(origin: Origin | None, records: Records) -> Mapping[str, Any]:
    """What the source's dense network says of the data that it was found with; nothing where that is not known."""
    found = records.get(_home(origin).key, {}) if origin else {}
    return next(iter(found["records"]), {}) if "records" in found else found
