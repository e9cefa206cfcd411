"""`oneticket zoo`: the tickets that ship with the package, or those of a folder or the Hub, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oneticket.cli.fit import tell_fits
from oneticket.cli.hub import print_card
from oneticket.cli.tables import print_table
from oneticket.ground.errors import SpecError, WrongFileError
from oneticket.publish.hub import parse
from oneticket.publish.standing import ADJUSTED, standings
from oneticket.publish.zoo import ZooEntry, entries, single
from oneticket.session.terminal import paragraph, say, say_json
from oneticket.stats.report_table import ReportTable
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.describe import at, data, network, percent, scores, word


def zoo(where: str | None, *, fits: str | None, json: bool) -> int:
    """List tickets, print the card of a named one, or say which fit. A bad file does not fail the list."""
    path = None if where is None else single(where)
    if json:
        if fits is not None:
            raise SpecError("--json: does not go with --for")
        say_json([_plain(entry) for entry in entries(where if path is None else path)])
        return 0
    if path is not None and fits is None:
        print_card(file.load(path), str(where))
        return 0
    found = list(entries(where if path is None else path))
    if not found and where is not None:
        raise WrongFileError(f"{where}: no tickets there; `oneticket zoo` lists the shipped ones")
    if fits is not None:
        tell_fits(
            fits, found, called={entry.name: _called(entry.name, where, alone=path is not None) for entry in found}
        )
    else:
        _list(found, where)
    for entry in found:
        if entry.thing is None:
            say(f"{word(entry.name)}: bad: {word(entry.problem)}", style="red")
    return 0


def _plain(entry: ZooEntry) -> dict[str, object]:
    """An entry for other programs."""
    thing = entry.thing
    if thing is None:
        return {"name": entry.name, "bytes": entry.size, "problem": entry.problem}
    counts = thing.weight_counts[-1] if isinstance(thing, Book) else thing.weight_counts
    return {
        "name": entry.name,
        "bytes": entry.size,
        "kind": "book" if isinstance(thing, Book) else "ticket",
        "id": thing.id,
        "network": network(thing),
        "data": data(thing),
        "density": counts.prunable,
        "scores": list(scores(thing)),
    }


def _list(found: Sequence[ZooEntry], where: str | None) -> None:
    print_table(_table(found, where))
    by_name = {entry.name: standings(scores(entry.thing)) for entry in found if entry.thing is not None}
    for name, lines in by_name.items():
        if lines:
            say()
            say(f"{word(name)} on other sets", style="bold")
        for one in lines:
            paragraph(f"Beside {one.rival_words}", indent=2)
            for line in one.lines:
                paragraph(line, indent=4)
    if bare := [word(name) for name, lines in by_name.items() if not lines]:
        say()
        paragraph(f"Not measured on any other set: {', '.join(bare)}.")
    if any(by_name.values()):
        say()
        paragraph(
            "The worst and the best set of each ticket: mean difference over n pairs of trainings, above 0 where the "
            f"ticket is better, in points of accuracy or the metric's unit. {ADJUSTED}",
            style="dim",
        )
    if found:
        _how(where)


def _called(name: str, where: str | None, *, alone: bool) -> str:
    """What a user calls an entry of that list."""
    if where is None or alone:
        return name if where is None else where
    return f"{where.rstrip('/')}/{name}" if isinstance(parse(where, several=True), Path) else name


def _how(where: str | None) -> None:
    """What to do next."""
    name = word(_called("NAME", where, alone=False))
    place = f" {word(where)}" if where is not None else ""
    say()
    say(f"A card:           oneticket zoo {name}")
    say(f"The file:         oneticket pull {name} --out FILE")
    say(f"Which one fits:   oneticket zoo{place} --for mine.py:model   (or a dataset)")


def _table(found: Sequence[ZooEntry], where: str | None) -> ReportTable:
    return ReportTable(
        title="Tickets that ship with oneticket" if where is None else f"Tickets of {word(where)}",
        header=("name", "network", "inputs", "density", "found on", "kB"),
        rows=tuple(_row(entry) for entry in found),
        caption="Density: of the prunable weights." if found else "There are none.",
    )


def _row(entry: ZooEntry) -> tuple[str, ...]:
    name, size = word(entry.name), f"{entry.size / 1000:,.0f}" if entry.size else "—"
    thing = entry.thing
    if thing is None:
        return (name, "bad, see below", "—", "—", "—", size)
    counts = thing.weight_counts[-1] if isinstance(thing, Book) else thing.weight_counts
    density = f"{'1 to ' * isinstance(thing, Book)}{percent(counts.prunable)}"
    shape = at(thing.model, "shape")
    inputs = "×".join(map(word, shape)) if isinstance(shape, list) else ""
    return (name, network(thing) or "—", inputs or "—", density, data(thing) or "—", size)
