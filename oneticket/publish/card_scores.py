"""The scores of a card: a table for each set, and the worst and the best set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oneticket.ground.metric import Metric, score_of
from oneticket.publish.markdown import table
from oneticket.publish.score_tables import score_tables, scores_note
from oneticket.publish.standing import ADJUSTED, standings
from oneticket.ticket.book import Book
from oneticket.ticket.describe import number, scores, sound_metric, text
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
    made = list[str]()
    for one in score_tables(rows):
        lines = [(text(name), *numbers) for name, *numbers in one.rows]
        made += [f"### {text(one.place)}", table([text(name) for name in one.header], lines)]
    return "\n\n".join([*made, scores_note(rows, text), *_standings(rows)])


def _standings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The worst and the best target against each rival, and a note on the intervals; empty without scores."""
    found = [f"- beside {one.rival_words}, {text('; '.join(one.lines))}" for one in standings(rows)]
    return ["\n".join(found), f"Differences, above 0 where the ticket is better. {ADJUSTED}"] if found else []


def _single(score: float, metric: Metric) -> str:
    """A score of one training, with its name and direction."""
    if metric.name == "accuracy":
        return f"an accuracy of {metric.score(score)}"
    return f"{metric.written(score)} {text(metric.label)}{'' if metric.larger else ' (lower is better)'}"
