"""`oneticket consensus`: one book of what several searches agree on, for each replicate that they have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oneticket.cli.find import make_folder
from oneticket.ground.errors import SpecError, WrongFileError
from oneticket.lottery.consensus import consensus as agree
from oneticket.lottery.spec import Weights
from oneticket.session.sources import sources_at
from oneticket.session.terminal import say
from oneticket.stats.words import percent
from oneticket.ticket.book import Book
from oneticket.ticket.names import book_file


def consensus(sources: Sequence[Path], *, out: Path, weights: Weights, run_code: bool) -> int:
    """Write the consensus of books to `out`, or of folders of books one for each replicate into the folder `out`."""
    if len(sources) < 2:
        raise SpecError(f"expected at least two sources, got {len(sources)}")
    found = [_books(path) for path in sources]
    replicates = [*found[0]]
    for path, books in zip(sources, found, strict=True):
        if [*books] != replicates:
            lists = [", ".join(map(str, each)) for each in (books, replicates)]
            raise SpecError(f"{path}: holds replicates {lists[0]}, {sources[0]} {lists[1]}; give the same of all")
    folder = any(path.is_dir() for path in sources)
    made = {each: agree([books[each] for books in found], weights=weights, run_code=run_code) for each in replicates}
    if folder:
        make_folder(out)
    for replicate, book in made.items():
        file = book_file(out, replicate) if folder else out
        book.save(file)
        agreed = percent(float(book.records[-1]["agreed"]))
        searches = "both searches" if len(sources) == 2 else f"all {len(sources)} searches"
        remain = percent(book.densities[-1])
        say(f"{file}: level {book.levels}: {remain} remain; {searches} keep {agreed} of them")
    return 0


def _books(path: Path) -> dict[int, Book]:
    """The books there, by replicate."""
    found: dict[int, Book] = {}
    for replicate, (file, thing) in sources_at(path).items():
        if not isinstance(thing, Book):
            raise WrongFileError(
                f"{file}: is a single ticket; a consensus needs books, which record the level at which each weight was "
                "pruned"
            )
        found[replicate] = thing
    return found
