"""The verdict: the result in one sentence that claims no more than its intervals do."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from oneticket.lottery.arms import WHOLE, words_of
from oneticket.report.rivals import Rivals, name, rivals
from oneticket.stats.regroup import settled
from oneticket.stats.summary import Row, Summary, over, places, summary
from oneticket.stats.words import listed, percent


def sentence(rows: Iterable[Row]) -> str:
    """The result at the sparsest level that all arms have: one sentence for each setting and ticket.

    A difference counts as above or below only if its 95 % interval excludes 0; with one replicate nothing is claimed.
    Raises SpecError as `summary` does.

    >>> row = {"model": "lenet-300-100", "target_data": "digits:b", "target_optimizer": "sgd", "replicate": 0}
    >>> dense = {**row, "arm": "dense", "level": 0, "density": 1.0, "accuracy": 0.97}
    >>> found = {"source_data": "digits:a", "source_optimizer": "sgd", "level": 20, "density": 0.012, "accuracy": 0.95}
    >>> sentence([dense, {**row, **found, "arm": "ticket"}])  # doctest: +NORMALIZE_WHITESPACE
    'At 1.2 % of the weights on digits:b under sgd, the ticket from digits:a (sgd) reached 95.0 % in one replicate
    (n = 1): no interval can be given, and no claim is made about how it compares with the dense network.'
    """
    summaries = summary(settled(rows))
    where, blocks = places(summaries), groupby(summaries, key=lambda one: one.setting)
    return " ".join(said for setting, block in blocks for said in _sentences(list(block), where[setting]))


def _sentences(block: list[Summary], place: str) -> list[str]:
    found = rivals(block)
    if not found:
        return [f"On {place}, no ticket was trained, so nothing can be said about one."]
    return [_sentence(one, place) for one in found]


def _sentence(one: Rivals, place: str) -> str:
    ticket = one.ticket
    end = f"; {one.others} other networks beside it are not listed here" if one.others else ""
    lacking = [words_of(arm).phrase for arm in one.lacking]
    end += f"; not trained at this density: {listed(lacking, 'and')}" if lacking else ""
    end += "." if one.dense else "; the dense network was not trained."
    named = f"the ticket from {ticket.line.source}" if ticket.line.source else "the ticket"
    start = f"At {percent(ticket.density)} of the weights on {place}, {named} reached {_score(ticket)}"
    low, high, n = ticket.score.low, ticket.score.high, ticket.score.n
    if low is None or high is None:
        against = listed([_named(rival, ticket) for rival in one.shown], "or") or "anything"
        claim = f"no interval can be given, and no claim is made about how it compares with {against}"
        return f"{start} in one replicate (n = 1): {claim}{end}"
    seen = listed([compared(ticket, rival) for rival in one.shown], "and")
    bounds = ticket.setting.metric.score_interval_words(low, high, n)
    return f"{start} ({bounds}){': ' if seen else ''}{seen}{end}"


def compared(ticket: Summary, rival: Summary) -> str:
    """How a ticket compares with another network, as `0.9 points above the dense network (95 % CI 0.5 to 1.2)`."""
    found, name, metric = over(ticket, rival), _named(rival, ticket), ticket.setting.metric
    if found is None:
        return f"not comparable with {name} (no replicate in common)"
    difference, seen = found.difference, found.sign
    if difference.low is None or difference.high is None or seen is None:
        return f"not comparable with {name} (only one replicate in common)"
    if seen and difference.low == difference.high:
        way = metric.above if seen > 0 else metric.below
        pairs = f"in each of {difference.n} pairs alike (no spread, so no interval)"
        return f"{metric.size(abs(difference.mean))} {way} {name} {pairs}"
    sign = seen or 1
    low, high = sorted((sign * difference.low, sign * difference.high))
    pairs = "" if difference.n == ticket.score.n else f", {difference.n} pairs"
    size, bounds = (
        metric.size(sign * difference.mean),
        f"95 % CI {metric.written(low)} to {metric.written(high)}{pairs}",
    )
    if not seen:
        return f"not shown to differ from {name} ({metric.size(difference.mean, signed=True)}, {bounds})"
    return f"{size} {metric.above if seen > 0 else metric.below} {name} ({bounds})"


def _score(ticket: Summary) -> str:
    """The mean score; for other metrics than accuracy with the metric's name and direction."""
    metric = ticket.setting.metric
    if metric.share:
        return metric.score(ticket.score.mean) + ("" if metric.name == "accuracy" else f" {metric.words}")
    return f"{metric.written(ticket.score.mean)} {metric.label}{'' if metric.larger else ', where lower is better'}"


def _named(rival: Summary, ticket: Summary) -> str:
    """The name of a rival, with its density if that differs from the ticket's."""
    density = percent(rival.density)
    alike = rival.line.arm in WHOLE or density == percent(ticket.density)
    return words_of(name(rival)).phrase + ("" if alike else f" at {density} of the weights")
