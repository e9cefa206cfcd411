"""The commands that search and train, as the command line describes them; their work is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from oneticket.cli.parameters import HOW, KEEP, How, Keep, Quiet, Rows, SpecFile, Track
from oneticket.cli.status import loading, telling
from oneticket.engine.nursery import expected


def find(
    *,
    out: Annotated[Path, Parameter(help="Folder for the books (one per replicate) and the rows.")],
    given: dict[str, Any],
    spec: SpecFile = None,
    rows: Rows = None,
    track: Track = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Find tickets: train, prune the smallest weights, rewind the rest, repeat. Writes a book of all levels."""
    with telling(quiet=quiet):
        with loading():
            from oneticket.cli.find import find as command
        return command(given=given, spec=spec, out=out, rows=rows, track=track or [], how=how, store=store, quiet=quiet)


def transfer(
    source: Annotated[Path, Parameter(help="A folder that `find` made, a book or ticket file, or a shipped ticket.")],
    /,
    *,
    given: dict[str, Any],
    spec: SpecFile = None,
    rows: Rows = None,
    track: Track = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
    run_code: Annotated[
        bool, Parameter(help="Allow running the code of a network that the source names by import path.", negative="")
    ] = False,
) -> int:
    """Train tickets on other data or with another optimizer, and compare with the dense network and controls.

    The network is always the source's. Training and optimizer settings that you do not give are the source's.
    """
    with telling(quiet=quiet):
        with loading():
            from oneticket.cli.transfer import transfer as command
        return command(
            source,
            given=given,
            spec=spec,
            rows=rows,
            track=track or [],
            how=how,
            store=store,
            quiet=quiet,
            run_code=run_code,
        )


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for tickets, rows, charts and the report.")] = Path("demo"),
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Run the whole method in a minute: find tickets on half of scikit-learn's digits, transfer to the other half."""
    with telling(quiet=quiet), expected():
        with loading():
            from oneticket.cli.demo import demo as command
        return command(out=out, store=store, quiet=quiet)
