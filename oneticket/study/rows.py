"""Rows: one flat record per trained network of a comparison, with the same columns for every arm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from oneticket.data.spec import joint_name
from oneticket.ground.card import card_by
from oneticket.ground.door import door
from oneticket.ground.metric import Metric, score_of
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.cells import Cell, Origin
from oneticket.study.settings import SCHEDULE, SETTINGS, TRAINING, UPDATE
from oneticket.study.steps import training_step

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
Records = Mapping[str, Mapping[str, Any]]

COLUMNS = (
    *("arm", "model", "source_data", "source_optimizer", "target_data", "target_optimizer"),
    *("level", "density", "replicate", "metric", "score", "unit", "better", "accuracy", "loss", "seconds"),
    *("train_loss", "commonest", "living", "natural_zeros", "steps", "examples"),
    *SETTINGS,
    *("criterion", "scope", "granularity", "shots", "rewind", "equal", "head", "head_start", "start", "seed"),
    *("device", "threads", "how", "part"),
    *("source_id", "source_name", "source_classes", "source_images", "target_name", "target_classes", "target_images"),
    *(f"source_{name}" for name in SETTINGS),
    *("data_digest", "key"),
)

COMPACT = {
    "sparse layers": re.compile("layers sparse"),
    "dead units skipped": re.compile("units? (removed|left out)"),
}
"""What made a network cheaper to train, and the words of a row's `how` that say so: "left out" in earlier rows."""


class Rows(list[Row]):
    """The rows of a comparison: a list, which a notebook shows as a table of means with their intervals.

    >>> Rows([{"arm": "dense"}])
    Rows(1 trained network)
    """

    __slots__ = ()

    def table(self) -> DataFrame:
        """All of it as a pandas DataFrame, with `COLUMNS`; MissingExtra without pandas."""
        frame: DataFrame = door("stats.frame:of_rows")(self)
        return frame

    def sentence(self) -> str:
        """The result in a sentence, with intervals: `report.verdict.sentence`."""
        said: str = door("report.verdict:sentence")(self)
        return said

    _repr_html_ = card_by("report.cards:of_rows")

    def __repr__(self) -> str:
        return f"Rows({len(self)} trained network{'' if len(self) == 1 else 's'})"


def rows(cells: Iterable[Cell], store: Store) -> Rows:
    """The rows of those cells whose networks are trained, in the order given; a network in two cells has two rows."""
    cells = list(cells)
    origins = [cell.origin for cell in cells if cell.origin]
    fact_steps = [_fact_step(each) for origin in origins for each in origin.each]
    records = store.records({step.key: step for step in [*(c.step for c in cells), *fact_steps]}.values())
    provenances = store.provenances({cell.step.key for cell in cells})
    there = [cell for cell in cells if cell.step.key in records]
    return Rows(_row(cell, records, provenances.get(cell.step.key, {})) for cell in there)


def _row(cell: Cell, records: Records, provenance: Mapping[str, Any]) -> Row:
    step, search = cell.step, cell.origin.search if cell.origin else {}
    target, record = training_step(step).spec.plain(), records[step.key]
    source = _source(cell.origin, records)
    known = {
        **record,  # a column that is no measure's stands over a measure of its name
        "seconds": provenance.get("seconds"),
        "device": provenance.get("device"),
        "threads": provenance.get("threads"),
        "how": provenance.get("how", ""),
        "rewind": search.get("rewind"),
        "head": cell.head,
        "head_start": cell.head_start,
        "start": cell.start,
        "seed": target["seed"],
        "source_id": cell.origin.file.id if cell.origin and cell.origin.file else None,
        "source_name": joint_name(search["data"]) if search else None,
        "source_classes": source.get("classes"),
        "source_images": source.get("images"),
        "target_name": joint_name(target["data"]),
        "key": step.key,
        **_settings(target),
        **{f"source_{name}": value for name, value in _settings(search).items()},
        **{name: search.get("pruning", {}).get(name) for name in ("criterion", "scope", "granularity", "shots")},
        **Metric.of(record).plain(),
        "score": score_of(record),
        "target_classes": record.get("classes"),
        "target_images": record.get("images"),
        **cell.labels,
    }
    return {column: known.get(column) for column in COLUMNS}


def _settings(spec: Mapping[str, Any]) -> Row:
    """What a plain spec of a search or transfer trains with, flat; nothing where that is not known."""
    if not spec:
        return {}
    optimizer, training = spec["optimizer"], spec["training"]
    ruled = {**optimizer, "optimizer_name": optimizer["name"]}
    given = {**{name: ruled[name] for name in (*UPDATE, *SCHEDULE)}, **{name: training[name] for name in TRAINING}}
    return {name: _flat(value) for name, value in given.items()}


def _flat(value: Any) -> Any:
    """A list as text, such as `0.9,0.999`, and None where it is empty."""
    return ",".join(map(str, value)) or None if isinstance(value, list) else value


def _fact_step(origin: Origin) -> Step:
    """The step with the facts about a ticket's source: the dense network of its search, or its file."""
    return origin.file.step if origin.file else origin.levels[0]


def _source(origin: Origin | None, records: Records) -> Mapping[str, Any]:
    """The source's dense network's facts about its data; empty if unknown.

    A consensus has seen what all of its searches have.
    """
    if origin is None:
        return {}
    if origin.of:
        each = [_source(one, records) for one in origin.of]
        return {name: sum(one.get(name, 0) for one in each) for name in ("classes", "images")}
    found = records.get(_fact_step(origin).key, {})
    return next(iter(found["records"]), {}) if "records" in found else found
