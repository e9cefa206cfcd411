"""`oneticket transfer`: a source's tickets on a target, beside the dense network and the controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oneticket.cli.books import books_at
from oneticket.cli.flags import collect, from_file, read
from oneticket.cli.parameters import How
from oneticket.cli.session import run_steps
from oneticket.cli.tables import out as stdout
from oneticket.cli.tables import print_tables
from oneticket.engine.engine import Engine
from oneticket.ground.errors import CarryError, SpecError
from oneticket.lottery.place import Place
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.report.export import check_rows, write_rows
from oneticket.report.verdict import sentence
from oneticket.store.store import Store
from oneticket.study.plan import Cell, Origin, book_origin, search_origin, transfer_cells
from oneticket.study.rows import rows as rows_of
from oneticket.study.spec import CarrySpec
from oneticket.ticket.book import Book


def transfer(
    source: Path,
    *,
    given: Mapping[str, Any],
    spec: Path | None,
    rows: Path | None,
    how: How,
    store: str,
    quiet: bool,
) -> int:
    """Carry, print the comparison, and write the rows where asked."""
    engine = Engine(name="inline", together=how.together)
    books = books_at(source)
    first = next(iter(books.values()))[1]
    asked = read(CarrySpec, collect(CarrySpec, given, {"transfer": as_source(first)}, from_file(spec)))
    check_rows(rows)
    levels = asked.levels or tuple(range(1, first.levels + 1))
    for file, book in books.values():
        if beyond := [level for level in levels if not 0 <= level <= book.levels]:
            raise SpecError(f"--levels: {file} holds levels 0 to {book.levels}, got {beyond[0]}")
    kept, place = Store(store), how.place()
    cells: list[Cell] = []
    for replicate, (file, book) in books.items():
        if not book.model:
            raise CarryError(f"{file} does not say which network it is for; apply it to your model with Ticket.apply")
        origin = book_origin(book, file, replicate)
        own = own_search(book, asked.transfer, max(levels), replicate, place) if "own" in asked.controls else None
        arms = ("dense", "ticket", *asked.controls)
        cells += transfer_cells(asked.transfer, origin=origin, own=own, arms=arms, levels=levels, place=place)
    piles = run_steps([cell.step for cell in cells], store=kept, place=place, quiet=quiet, engine=engine)
    found = rows_of(cells, kept)
    if rows is not None:
        write_rows(found, rows)
    if found and not quiet:
        print_tables(found)
        stdout().print(sentence(found), highlight=False, soft_wrap=True)
    return 1 if piles.failed else 0


def as_source(book: Book) -> dict[str, Any]:
    """The optimizer, training and seed that the source was found with: what a transfer takes unless told otherwise."""
    search = book.lineage.get("search", {})
    return {name: search[name] for name in ("optimizer", "training", "seed") if name in search}


def own_search(book: Book, target: TransferSpec, levels: int, replicate: int, place: Place) -> Origin:
    """The source's search on the target: its network, pruning and rewind point, the target's data and training."""
    search = book.lineage.get("search")
    if search is None:
        raise SpecError(
            "--controls own: the source does not say how it was searched for, so the target's own cannot be"
        )
    channels, height, width = book.model["shape"]
    data = target.data
    if place.facts(data).shape != (channels, height, width):
        if height != width:
            raise SpecError(f"--controls own: needs square images, the source was found with {height} x {width}")
        data = data.but(size=data.size or height, channels=data.channels or channels)
    spec = SearchSpec.read(
        {
            **search,
            "data": data,
            "optimizer": target.optimizer,
            "training": target.training,
            "seed": target.seed,
        }
    )
    return search_origin(spec, levels=levels, replicate=replicate, place=place)
