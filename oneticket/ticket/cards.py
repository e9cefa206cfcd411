"""What a notebook shows of tickets, books and masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from oneticket.ground.card import Bar, Bars, Card
from oneticket.ground.metric import score_of
from oneticket.ticket import describe
from oneticket.ticket.book import Book
from oneticket.ticket.density import Density
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import natural
from oneticket.ticket.ticket import Ticket


def of_ticket(ticket: Ticket) -> Card:
    """The network of a ticket, its source, its density, and its score there."""
    facts = [
        *_found(ticket),
        ("level", describe.word(ticket.lineage.get("level"))),
        *density(ticket.weight_counts),
        ("rewind", f"{ticket.contract.rewind} (step {ticket.contract.step:,})"),
        *scores(ticket.evidence),
    ]
    return Card(title="Ticket", facts=facts, parts=[layers(ticket.mask)])


def of_book(book: Book) -> Card:
    """The same of a whole search: its levels with their scores, and the layers of the sparsest."""
    facts = [
        *_found(book),
        ("levels", f"0 to {book.levels}"),
        ("rewind", f"{book.contract.rewind} (step {book.contract.step:,})"),
    ]
    counts = [counts.prunable for counts in book.weight_counts]
    return Card(title="Book", facts=facts, parts=[levels(counts, book.records), layers(book.mask(book.levels))])


def of_mask(mask: Mask) -> Card:
    """How many weights remain, layer by layer."""
    if not mask:
        return Card(title="Mask", notes=["It names no tensors: nothing is pruned."])
    remain = f"{describe.percent(mask.density)}: {mask.remaining:,} of {mask.total:,} weights remain"
    return Card(title="Mask", facts=[("density", remain), ("tensors", f"{len(mask):,}")], parts=[layers(mask)])


def layers(mask: Mask) -> Bars:
    """The density of each layer."""
    counts, shapes = mask.counts, mask.shapes
    totals = {name: prod(shapes[name]) for name in sorted(shapes, key=natural)}
    bars = [_bar(name, counts[name], total) for name, total in totals.items()]
    return Bars(title="Weights that remain in each layer", bars=bars)


def levels(densities: Sequence[float], records: Sequence[Mapping[str, Any]], *, first: int = 0) -> Bars:
    """The density of each level, and its score where that was recorded; of many levels some, spread evenly."""
    count = len(densities)
    shown = [*range(count)] if count <= FEW else sorted({round(n * (count - 1) / (FEW - 1)) for n in range(FEW)})
    bars = []
    for at in shown:
        said = describe.score(records[at]) if at < len(records) else ""
        words = " · ".join(filter(None, [describe.percent(densities[at]), said]))
        bars.append(Bar(name=f"level {first + at}", share=densities[at], said=words))
    metrics = [metric.name for record in records if (metric := describe.sound_metric(record))]
    scored = any(describe.number(score_of(record)) for record in records)
    return Bars(title=f"Density{f' and {metrics[0]}' if metrics and scored else ''} of the levels", bars=bars)


def density(counts: Density) -> Iterator[tuple[str, object]]:
    """With both denominators."""
    yield "density", f"{describe.percent(counts.prunable)} of {counts.total:,} prunable weights"
    yield "of all weights", f"{describe.percent(counts.model)} of {counts.whole:,}"


def scores(record: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What was measured, by the metric's name; at most a few numbers."""
    metric = describe.sound_metric(record)
    if metric is not None and (said := describe.score(record)):
        yield metric.words, said


def own_scores(given: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The scores that the user's own loop recorded, by their names."""
    for name, value in list(given.items())[:FEW]:
        yield name, f"{value:.4g}" if isinstance(value, float) else describe.word(value)


def _found(thing: Ticket | Book) -> Iterable[tuple[str, object]]:
    shape = describe.word(thing.model.get("shape"))
    network = describe.network(thing)
    yield "network", f"{network}, inputs {shape}" if network and shape else network
    yield "found on", describe.data(thing)
    yield "optimizer", describe.word(describe.at(thing.lineage, "search", "optimizer", "name"))
    yield "replicate", describe.word(thing.lineage.get("replicate"))


def _bar(name: str, remaining: int, total: int) -> Bar:
    share = remaining / total if total else 1.0
    return Bar(name=name, share=share, said=f"{describe.percent(share)} of {total:,}")


FEW = 8
"""So many levels, or scores, are shown."""
