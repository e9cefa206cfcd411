"""The scores of a card: a table for each set, narrow enough for a terminal, and the worst and the best set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from oneticket.ground.metric import Metric, score_of
from oneticket.lottery.arms import words_of
from oneticket.publish.markdown import table
from oneticket.publish.standing import ADJUSTED, standings
from oneticket.ticket.book import Book
from oneticket.ticket.describe import metric_of, number, scores, sound_metric, text
from oneticket.ticket.ticket import Ticket


def card_scores(thing: Ticket | Book) -> str:
    """Markdown: what was measured over several trainings, or that nothing was."""
    rows = list(scores(thing))
    if not rows:
        evidence = thing.evidence if isinstance(thing, Ticket) else {}
        single, metric = score_of(evidence), sound_metric(evidence)
        known = (
            f" One training in the search left {_single(single, metric)}: n = 1." if number(single) and metric else ""
        )
        return f"Not measured: no scores over several trainings came with this file.{known}"
    note = (
        "In brackets the 95 % interval of the mean; n is the number of trainings. The third column compares "
        "in pairs of one seed: it is above 0 where the ticket is better than that network."
    )
    if any(map(_alike, rows)):
        note += ' "In all": every training ended there, as one does that names one class alone.'
    metrics = list(dict.fromkeys(metric_of(row) for row in rows))
    note += "".join(f" Lower {text(one.label)} is better." for one in metrics if not one.larger)
    words = sorted({text(row["what"]) for row in rows if row.get("what")})
    note += "".join(f" {word}." for word in words)
    return "\n\n".join([*_tables(rows), note, *_standings(rows)])


def _tables(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A heading and a table for each set, optimizer and metric, in the order in which the file has them."""
    places: dict[tuple[str, str, Metric], int] = {}
    for row in rows:
        places.setdefault(_set_of(row), len(places))
    made = []
    for (data, optimizer, metric), group in groupby(sorted(rows, key=lambda row: places[_set_of(row)]), key=_set_of):
        header = ("network", text(metric.heading), f"ticket better by ({text(metric.units)})", "n")
        made += [
            f"### {', '.join(filter(None, (data, optimizer)))}",
            table(header, [_line(row, metric) for row in group]),
        ]
    return made


def _set_of(row: Mapping[str, Any]) -> tuple[str, str, Metric]:
    return text(row["data"]), text(row["optimizer"]), metric_of(row)


def _line(row: Mapping[str, Any], metric: Metric) -> tuple[str, ...]:
    above = row["difference"]
    return (
        text(words_of(row["arm"]).label),
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


def _standings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The worst and the best target against each rival, and a note on the intervals; empty without scores."""
    found = [f"- beside {one.rival_words}, {text('; '.join(one.lines))}" for one in standings(rows)]
    return ["\n".join(found), f"Differences, above 0 where the ticket is better. {ADJUSTED}"] if found else []


def _single(score: float, metric: Metric) -> str:
    """A score of one training, with its name and direction."""
    if metric.name == "accuracy":
        return f"an accuracy of {metric.score(score)}"
    return f"{metric.written(score)} {text(metric.label)}{'' if metric.larger else ' (lower is better)'}"
