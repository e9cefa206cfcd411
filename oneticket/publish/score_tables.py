"""The scores in a ticket's file: a table for each set, narrow enough for a terminal, for cards and commands alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from oneticket.ground.metric import Metric
from oneticket.lottery.arms import words_of
from oneticket.ticket.describe import metric_of, word


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """What networks scored on one set with one optimizer, in words and numbers that are safe on a terminal."""

    place: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def score_tables(rows: Sequence[Mapping[str, Any]]) -> list[ScoreTable]:
    """A table for each set, optimizer and metric of sound scores, in the order in which they have them."""
    places: dict[tuple[str, str, Metric], int] = {}
    for row in rows:
        places.setdefault(_set_of(row), len(places))
    made = []
    for (data, optimizer, metric), group in groupby(sorted(rows, key=lambda row: places[_set_of(row)]), key=_set_of):
        made.append(
            ScoreTable(
                place=", ".join(filter(None, (data, optimizer))),
                header=("network", metric.heading, f"ticket better by ({metric.units})", "n"),
                rows=tuple(_line(row, metric) for row in group),
            )
        )
    return made


def scores_note(rows: Sequence[Mapping[str, Any]], spoken: Callable[[object], str] = word) -> str:
    """What explains the tables; `spoken` makes the words of a file safe."""
    note = (
        "In brackets the 95 % interval of the mean; n is the number of trainings. The third column compares "
        "in pairs of one seed: it is above 0 where the ticket is better than that network."
    )
    if any(map(_alike, rows)):
        note += ' "In all": every training ended there, as one does that names one class alone.'
    metrics = list(dict.fromkeys(metric_of(row) for row in rows))
    note += "".join(f" Lower {spoken(one.label)} is better." for one in metrics if not one.larger)
    return note + "".join(f" {what}." for what in sorted({spoken(row["what"]) for row in rows if row.get("what")}))


def _set_of(row: Mapping[str, Any]) -> tuple[str, str, Metric]:
    return word(row["data"]), word(row["optimizer"]), metric_of(row)


def _line(row: Mapping[str, Any], metric: Metric) -> tuple[str, ...]:
    above = row["difference"]
    return (
        word(words_of(row["arm"]).label),
        _within(row, metric),
        _within(above, metric, signed=True) if above else "—",
        f"{row['n']:,}",
    )


def _within(value: Mapping[str, Any], metric: Metric, *, signed: bool = False) -> str:
    """A mean with its interval; values without any spread have most likely learned one class only: no narrow result."""
    if _alike(value):
        return f"{metric.written(value['mean'], signed=signed)} in all {value['n']}"
    return metric.within(value["mean"], value["low"], value["high"], value["n"], signed=signed)


def _alike(value: Mapping[str, Any]) -> bool:
    return value["low"] is not None and value["low"] == value["high"] and value["n"] > 1
