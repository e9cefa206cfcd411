"""`oneticket find`: a search per replicate, bound into books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from oneticket.cli.books import books_at
from oneticket.cli.flags import collect, from_file, read
from oneticket.cli.rows import check_rows, write_rows
from oneticket.cli.session import run_steps
from oneticket.cli.tables import out as stdout
from oneticket.cli.tables import print_tables
from oneticket.ground.errors import SpecError, StoreError
from oneticket.lottery.place import Place
from oneticket.lottery.place import device as device_named
from oneticket.lottery.search import rewind_step
from oneticket.study.plan import search_steps
from oneticket.study.rows import rows as rows_of
from oneticket.study.spec import FindSpec
from oneticket.study.step import Step
from oneticket.study.store import Store
from oneticket.study.work import bind
from oneticket.ticket.book import book_file, book_files


def find(
    *, given: Mapping[str, Any], spec: Path | None, out: Path, rows: Path | None, device: str, store: Path, quiet: bool
) -> int:
    """Search, and leave `book-0.safetensors`, `book-1.safetensors`, ... and `rows.csv` in `out`."""
    asked = read(FindSpec, collect(FindSpec, given, from_file(spec)))
    check_rows(rows)
    check_out(out, asked)
    make_folder(out)
    kept, place = Store(store), Place(device=device_named(device))
    rewind_step(asked.search, place.data(asked.search.data))
    searches = [
        search_steps(asked.search, levels=asked.levels, replicate=replicate, place=place)
        for replicate in range(asked.replicates)
    ]
    steps = [step for each in searches for step in each]
    piles = run_steps(steps, store=kept, place=place, quiet=quiet)
    for replicate, levels in enumerate(searches):
        save_book(levels, kept, book_file(out, replicate))
    found = rows_of(steps, kept)
    write_rows(found, out / "rows.csv")
    if rows is not None:
        write_rows(found, rows)
    if found and not quiet:
        print_tables(found)
        stdout().print(f"books and rows are in {out}; `oneticket show {out}` prints the card", highlight=False)
    return 1 if piles.failed else 0


def save_book(levels: Sequence[Step], store: Store, file: Path) -> None:
    """Bind the levels that are done, from 0 without a gap, and save them; nothing if level 0 is not there."""
    done = list(takewhile(store.has, levels))
    if done:
        records = [store.record(step) for step in done]
        bind(done[0], (store.get(done[0].needs[0]), store.get(done[-1])), records).save(file)


def make_folder(out: Path) -> None:
    """Make the folder before any work, so that what is found can be written; StoreError if the disk refuses."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"--out {out}: cannot be made: {error.strerror}") from error


def check_out(out: Path, asked: FindSpec) -> None:
    """Refuse a folder that holds the books of another search: SpecError, before anything is trained."""
    for _, book in books_at(out).values() if out.exists() and book_files(out) else ():
        if book.lineage.get("search") != asked.search.plain():
            raise SpecError(f"--out {out}: holds the books of another search; choose another folder or remove that one")
