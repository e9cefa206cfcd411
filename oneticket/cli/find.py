"""`oneticket find`: a search per replicate, bound into books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneticket.cli.flags import collect, from_file, read
from oneticket.cli.mistakes import exit_code
from oneticket.cli.parameters import How
from oneticket.cli.session import run_steps
from oneticket.cli.tables import print_tables
from oneticket.engine.engine import Engine
from oneticket.ground.errors import FileError, SpecError, StoreError
from oneticket.ground.phase import phase
from oneticket.lottery.outline import rewind_step
from oneticket.lottery.run_context import RunContext
from oneticket.report.export import check_rows, write_rows
from oneticket.session.search import book_of, bound, done_levels, of_replicate
from oneticket.session.terminal import say
from oneticket.store.store import Store
from oneticket.study.cells import Origin
from oneticket.study.labels import usual_labels
from oneticket.study.origins import search_origin
from oneticket.study.plan import search_cells
from oneticket.study.rows import rows as rows_of
from oneticket.study.spec import FindSpec
from oneticket.ticket.book import Book
from oneticket.ticket.names import book_file, book_files


def find(
    *,
    given: Mapping[str, Any],
    spec: Path | None,
    out: Path,
    rows: Path | None,
    track: Sequence[str],
    how: How,
    store: str,
    quiet: bool,
) -> int:
    """Search, and leave `book-0.safetensors`, `book-1.safetensors`, ... and `rows.csv` in `out`."""
    engine = Engine(name="inline", together=how.together)
    asked = read(FindSpec, collect(FindSpec, given, from_file(spec)), flagged=given, file=spec)
    check_rows(rows)
    kept, context = Store(store), how.context()
    check_out(out, asked, context)
    make_folder(out)
    one = asked.search
    called = usual_labels(one.model, one.data, one.optimizer)
    rewind_step(one, context.facts(one.data, one.task))
    with phase("planning"):
        searches = [
            search_origin(
                of_replicate(asked, replicate), levels=asked.levels, replicate=replicate, context=context, called=called
            )
            for replicate in range(asked.replicates)
        ]
    cells = [cell for origin in searches for cell in search_cells(origin)]
    books = [step for origin in searches for step in bound(origin)]
    steps = [cell.step for cell in cells]
    piles = run_steps(
        steps, store=kept, context=context, quiet=quiet, engine=engine, track=track, read=books, each=True
    )
    saved = [save_book(origin, kept, book_file(out, origin.replicate)) for origin in searches]
    found = rows_of(cells, kept)
    write_rows(found, out / "rows.csv")
    if rows is not None:
        write_rows(found, rows)
    if found and not quiet:
        print_tables(found)
        if words := next(filter(None, map(dense_share, saved)), ""):
            say(words)
        say(f"books and rows are in {out}; `oneticket show {out}` prints the card")
    return exit_code(error for _, error in piles.failed)


def dense_share(book: Book | None) -> str:
    """A note for models whose weights mostly stay dense, since the density does not show it; empty for others."""
    counts = book.weight_counts[-1] if book is not None else None
    if counts is None or 2 * counts.total >= counts.whole:
        return ""
    return f"most of the model's weights stay dense: at the sparsest level, {counts}"


def save_book(origin: Origin, store: Store, file: Path) -> Book | None:
    """Collect the finished levels, from 0 without a gap, into a book and save it; None without level 0."""
    if not done_levels(origin, store):
        return None
    book = book_of(origin, store)
    book.save(file)
    return book


def make_folder(out: Path) -> None:
    """Make the folder before any work, so that what is found can be written; StoreError if the disk refuses."""
    if out.is_file():
        raise SpecError(f"--out {out}: is a file; `--out` names a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"--out {out}: cannot be made: {error.strerror}") from error


def check_out(out: Path, asked: FindSpec, context: RunContext) -> None:
    """Refuse, before anything is trained, a folder whose books would be lost: of another search, or of a larger one."""
    if not out.is_dir():
        return
    other = "choose another folder or remove that one"
    for replicate, file in book_files(out).items():
        try:
            book = Book.load(file)
        except FileError as error:
            raise FileError(f"{error}; remove that file and run the command again") from None
        known = (book.lineage.get("search"), book.lineage.get("data_digest"))
        search = of_replicate(asked, replicate)
        if known != (search.identity(), context.facts(search.data, search.task).digest):
            raise SpecError(f"--out {out}: holds the books of another search, or of data that has changed; {other}")
        if replicate >= asked.replicates or book.levels > asked.levels:
            held = f"replicate {replicate} down to level {book.levels}"
            raise SpecError(
                f"--out {out}: holds {held}, more than this command asks for; ask for at least as many replicates and "
                f"levels, or {other}"
            )
