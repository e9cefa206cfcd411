"""`oneticket zoo`: the tickets that ship with the package, or those of a folder or the Hub, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oneticket.cli.hub import print_card
from oneticket.cli.tables import print_table
from oneticket.cli.terminal import say
from oneticket.ground.errors import FileError
from oneticket.publish.hub import parse
from oneticket.publish.zoo import ZooEntry, entries, single
from oneticket.stats.table import ReportTable
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.describe import best, data, network, percent, word


def zoo(where: str | None) -> int:
    """List tickets, or print the card of the one that is named. Files that are bad are no failure of a list."""
    if where is not None and (path := single(where)):
        print_card(file.load(path), where)
        return 0
    found = list(entries(where))
    if not found and where is not None:
        raise FileError(f"{where}: no tickets there, and none of that name ships with the package; see `oneticket zoo`")
    print_table(_table(found, where))
    for entry in found:
        if entry.thing is None:
            say(f"{word(entry.name)}: bad: {word(entry.problem)}", style="red")
    return 0


def _table(found: Sequence[ZooEntry], where: str | None) -> ReportTable:
    shown = "Tickets that ship with oneticket" if where is None else f"Tickets of {word(where)}"
    folder = where is not None and isinstance(parse(where, several=True), Path)
    name = word(f"{(where or '').rstrip('/')}/NAME") if folder else "NAME"
    how = f"`oneticket zoo {name}` prints a card, `oneticket pull {name} --out FILE` writes the file."
    return ReportTable(
        title=shown,
        header=("name", "network", "density (of all)", "found on", "kB", "largest gain over its best control"),
        rows=tuple(_row(entry) for entry in found),
        caption="Gain: mean paired difference and its 95 % interval, in points of accuracy or the metric's unit, on "
        "the target where it is largest; — not measured. "
        f"{how if found else 'There are none.'}",
    )


def _row(entry: ZooEntry) -> tuple[str, ...]:
    name, size = word(entry.name), f"{entry.size / 1000:,.0f}" if entry.size else "—"
    thing = entry.thing
    if thing is None:
        return (name, "bad, see below", "—", "—", size, "—")
    counts = thing.weight_counts[-1] if isinstance(thing, Book) else thing.weight_counts
    density = f"{'1 to ' * isinstance(thing, Book)}{percent(counts.prunable)} ({percent(counts.model)})"
    whom, where, score = (words or "—" for words in (network(thing), data(thing), best(thing)))
    return (name, whom, density, where, size, score)
