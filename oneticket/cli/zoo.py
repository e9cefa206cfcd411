"""`oneticket zoo`: the tickets that ship with the package, or those of a folder or the Hub, and their cards."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from oneticket.cli.hub import print_card
from oneticket.cli.tables import out, print_table
from oneticket.ground.errors import FileError
from oneticket.stats.table import Table
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.told import best, data, network, percent, word
from oneticket.ticket.zoo import Entry, entries, shipped


def zoo(where: str | None) -> int:
    """List tickets; of a shipped name print the card. Files that are bad are told, and are no failure of the list."""
    if where is not None and where in shipped():
        print_card(file.load(shipped()[where]), where, ships=True)
        return 0
    found = list(entries(where))
    if not found and where is not None:
        raise FileError(f"{where}: no tickets there, and none of that name ships with the package; see `oneticket zoo`")
    print_table(_table(found, where))
    for entry in found:
        if entry.thing is None:
            out().print(f"{word(entry.name)}: bad: {word(entry.problem)}", style="red", highlight=False, markup=False)
    return 0


def _table(found: Sequence[Entry], where: str | None) -> Table:
    shown = "Tickets that ship with oneticket" if where is None else f"Tickets of {escape(word(where))}"
    how = "`oneticket zoo NAME` prints a card, `oneticket pull` fetches one." if found else "There are none."
    return Table(
        title=shown,
        header=("name", "network", "density", "found on", "kB", "best score"),
        rows=tuple(_row(entry) for entry in found),
        caption=f"Accuracy: mean and 95 % interval of the ticket where it did best; — not measured. {how}",
    )


def _row(entry: Entry) -> tuple[str, ...]:
    name, size = escape(word(entry.name)), f"{entry.size / 1000:,.0f}" if entry.size else "—"
    thing = entry.thing
    if thing is None:
        return (name, "bad, see below", "—", "—", size, "—")
    density = f"1 to {percent(thing.densities[-1])}" if isinstance(thing, Book) else percent(thing.density)
    whom, where, score = (escape(words) or "—" for words in (network(thing), data(thing), best(thing)))
    return (name, whom, density, where, size, score)
