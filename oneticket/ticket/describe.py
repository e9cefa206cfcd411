"""Descriptions of a ticket or book, safe to show: names in one line, valid scores, plain text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeGuard

from oneticket.ground.errors import SpecError
from oneticket.ground.metric import Metric, score_of
from oneticket.ticket.names import joined


class Spoken(Protocol):
    """What can be described: a ticket, a book, or a preview of either."""

    @property
    def model(self) -> Mapping[str, Any]:
        """JSON that describes the network."""

    @property
    def lineage(self) -> Mapping[str, Any]:
        """JSON on how it was found."""


MOST_SCORES = 200
TIED = "no tensor of its own"
"""Of a head that shares all its tensors with other layers."""
IMAGE_SETTINGS = ("size", "channels", "fit", "flip", "crop")


def network(thing: Spoken) -> str:
    """The network's name as the file gives it; empty if it does not."""
    return word(at(thing.model, "spec", "name") or at(thing.model, "name"))


def data(thing: Spoken) -> str:
    """The data it was found on as the file names them, several sets joined by `+`; empty if it does not."""
    return word(joined(word(name) for each in _sets(thing) if (name := at(each, "name"))))


def columns(thing: Spoken) -> str:
    """The columns of a table that it was found on as the file names them; empty if it does not.

    Of many inputs the first ones and the last.
    """
    said = at(thing.lineage, "columns")
    inputs, filled = at(said, "inputs"), at(said, "filled")
    if not isinstance(inputs, list) or not inputs:
        return ""
    named = [*map(word, inputs)]
    shown = ", ".join(named) if len(named) <= 6 else f"{', '.join(named[:4])} ... {named[-1]}"
    parts = [f"inputs {shown}", f"label {word(at(said, 'label'))}"]
    if isinstance(filled, Mapping):
        parts += [f"missing {word(name)} filled with {word(value)}" for name, value in list(filled.items())[:6]]
    return word("; ".join(parts))


def data_settings(thing: Spoken) -> list[Any]:
    """The settings of each set that it was found on, without those that are for images alone where it holds none."""
    needless = IMAGE_SETTINGS if at(thing.model, "kind") is not None else ()
    return [
        {name: value for name, value in each.items() if name not in needless} if isinstance(each, Mapping) else each
        for each in _sets(thing)
    ]


def agreement(thing: Spoken) -> str:
    """What a consensus is of, and what it starts from; empty of others.

    >>> from oneticket.ticket.book import Book
    >>> from oneticket.ticket.contract import Contract
    >>> lineage = {"consensus": {"weights": "mean", "of": [{}, {}]}}
    >>> agreement(Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0), lineage=lineage))
    'of 2 searches, after their last level; the mean of their rewound weights'
    """
    said, of = thing.lineage.get("consensus"), at(thing.lineage, "consensus", "of")
    if not isinstance(of, list):
        return ""
    when = "at every level" if at(said, "every_level") is True else "after their last level"
    weights = {"initial": "the weights that all began from", "mean": "the mean of their rewound weights"}
    begins = at(said, "weights")
    return word(f"of {len(of)} searches, {when}; {weights.get(begins, begins) if isinstance(begins, str) else ''}")


def several_heads(thing: Spoken) -> str:
    """Which outputs are whose, of a network that was found on several sets; empty of others.

    >>> from oneticket.ticket.book import Book
    >>> from oneticket.ticket.contract import Contract
    >>> said = {"heads": [["letter", 26], ["penbased", 10]]}
    >>> several_heads(Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0), lineage=said))
    'letter 0 to 25, penbased 26 to 35'
    """
    said, first, parts = thing.lineage.get("heads"), 0, []
    for each in said[:MOST_SCORES] if isinstance(said, list) else ():
        if isinstance(each, list) and len(each) == 2 and type(each[1]) is int:
            parts.append(f"{word(each[0])} {first} to {first + each[1] - 1}")
            first += each[1]
    return word(", ".join(parts))


def scores(thing: Spoken) -> Iterator[Mapping[str, Any]]:
    """The rows of `evidence["scores"]` that are what they should be, the others left out: a file may hold anything."""
    rows = getattr(thing, "evidence", {}).get("scores")
    for row in rows[:MOST_SCORES] if isinstance(rows, list) else ():
        named = isinstance(row, Mapping) and all(isinstance(row.get(name), str) for name in ("data", "arm"))
        if named and (metric := sound_metric(row)) and _measured(row, metric):
            above = row.get("difference")
            good = isinstance(above, Mapping) and _measured(above, metric, difference=True)
            yield {"optimizer": "", **row, "difference": above if good else None}


def metric_of(row: Mapping[str, Any]) -> Metric:
    """What a sound row of scores is measured by, made safe to show."""
    return Metric.of({name: word(row.get(name)) for name in ("metric", "unit", "better")})


def sound_metric(row: Mapping[str, Any]) -> Metric | None:
    """The metric of a row, safe to show; None if it names no valid one."""
    try:
        return metric_of(row)
    except SpecError:
        return None


def score(record: Mapping[str, Any]) -> str:
    """What one network scored, in its metric's unit; empty where no sound number was recorded.

    >>> score({"metric": "accuracy", "score": 0.963}), score({"metric": "rmse", "unit": "mmol", "score": 54.25})
    ('96.3 %', '54.250 mmol')
    """
    value, metric = score_of(record), sound_metric(record)
    return metric.score(value) if number(value) and metric is not None else ""


def number(value: object) -> TypeGuard[float]:
    """Whether it is a number that can be a score."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def replicate_of(thing: Spoken) -> int:
    """The replicate of a ticket or book; 0 if it names none."""
    said = thing.lineage.get("replicate")
    return said if type(said) is int and 0 <= said < 2**31 else 0


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.0512)
    '5.12 %'
    """
    return f"{100 * share:.3g} %"


def at(value: Any, *path: str) -> Any:
    """The value under these nested names; None if one is missing."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def word(value: object) -> str:
    """A value from a file in one short line without control characters: safe on a terminal.

    >>> word("red\\x1b[31m\\nred")
    'red [31m red'
    """
    try:
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    except RecursionError:
        text = "…"
    text = "".join(mark if mark.isprintable() else " " for mark in text[:2000])
    return (text if len(text) <= 300 else text[:299] + "…").strip()


def text(value: object) -> str:
    r"""The same as Markdown that shows each character as it is, in a table too.

    >>> print(text("a_b `c` | <d>"))
    a_b \`c\` \| \<d\>
    """
    return re.sub(r"[\\`*\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)", r"\\\g<0>", word(value))


def _sets(thing: Spoken) -> list[Any]:
    """The data of a file, set by set; for a consensus those of all its searches."""
    of = at(thing.lineage, "consensus", "of")
    found: list[Any] = []
    for one in of[:MOST_SCORES] if isinstance(of, list) else [thing.lineage]:
        said = at(one, "search", "data")
        beside = at(said, "beside")
        first = {k: v for k, v in said.items() if k != "beside"} if isinstance(said, Mapping) else said
        found += [first, *(beside[:MOST_SCORES] if isinstance(beside, list) else ())]
    return found


def _measured(value: Mapping[str, Any], metric: Metric, *, difference: bool = False) -> bool:
    """Whether it is a mean that the metric can have, within its interval, whose ends may lie beyond as Student's do."""
    mean, low, high, n = (value.get(name) for name in ("mean", "low", "high", "n"))
    if type(n) is not int or not 1 <= n <= 10**6 or not number(mean) or not math.isfinite(mean):
        return False
    width = math.inf if metric.low is None or metric.high is None else metric.high - metric.low
    if abs(mean) > width if difference else metric.clipped(mean) != mean:
        return False
    return (low is None and high is None) or (number(low) and number(high) and low <= mean <= high)
