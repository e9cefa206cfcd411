"""`oneticket transfer`: a source's tickets on a target, with the dense network and the controls."""

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
from oneticket.ground.spec import texts
from oneticket.report.decomposition import decomposition_lines
from oneticket.report.export import check_rows, write_rows
from oneticket.report.verdict import sentence
from oneticket.session.called import called
from oneticket.session.sources import sources_at
from oneticket.session.terminal import say, tell
from oneticket.session.transfer import as_source, comparison
from oneticket.stats.decomposition import decompositions
from oneticket.store.store import Store
from oneticket.study.overlaps import overlaps
from oneticket.study.rows import rows as rows_of
from oneticket.study.spec import ComparisonSpec


def transfer(
    source: Path,
    *,
    given: Mapping[str, Any],
    spec: Path | None,
    rows: Path | None,
    track: Sequence[str],
    how: How,
    store: str,
    quiet: bool,
    run_code: bool,
) -> int:
    """Transfer, print the comparison, and write the rows if asked."""
    engine = Engine(name="inline", together=how.together)
    sources = sources_at(source)
    settings = collect(ComparisonSpec, given, {"transfer": as_source(*next(iter(sources.values())))}, from_file(spec))
    asked = read(ComparisonSpec, settings, flagged=given, file=spec)
    check_rows(rows)
    kept, context = Store(store), how.context()
    named = {*texts(given), *texts(from_file(spec))}
    cells = comparison(asked, sources, context=context, run_code=run_code, named=named, dashes="--")
    for doubt in overlaps(cells, context):
        tell(doubt, style="yellow", quiet=quiet)
    steps = [cell.step for cell in cells]
    names = called(cells, places=False)
    piles = run_steps(
        steps, store=kept, context=context, quiet=quiet, engine=engine, track=track, each=True, names=names
    )
    found = rows_of(cells, kept)
    if rows is not None:
        write_rows(found, rows)
    if found and not quiet:
        print_tables(found)
        for line in (sentence(found), *decomposition_lines(decompositions(found))):
            say(line)
    return exit_code(error for _, error in piles.failed)
