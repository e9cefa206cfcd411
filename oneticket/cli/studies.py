"""The commands of studies and of the store, as the command line describes them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from oneticket.cli.parameters import HOW, KEEP, How, Json, Keep, Quiet, Track
from oneticket.cli.status import loading, telling
from oneticket.engine.nursery import expected
from oneticket.ground.allocator import uncollected
from oneticket.ground.phase import phase

LISTING, CHECKING = "reading the store", "checking every entry"

Name = Annotated[
    str,
    Parameter(
        help="A study file, the name of a shipped one (demo, digits, minutes, images, crossing, several, "
        "paper-small, paper), or mine.py:function."
    ),
]


def study(
    name: Name,
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(help="Print what there is to do and how long it may take; run nothing.", negative="")
    ] = False,
    engine: Annotated[
        Literal["auto", "inline", "processes", "ray"],
        Parameter(
            help="inline: in this process. processes: several at once on this machine's cores. ray: several at once on "
            "GPUs or a cluster. auto: what fits the plan and the machine."
        ),
    ] = "auto",
    address: Annotated[
        str | None,
        Parameter(help="A running Ray cluster: auto or host:port. Default: this machine.", metavar="HOST:PORT"),
    ] = None,
    cpus: Annotated[
        float | None,
        Parameter(help="CPU cores for one training of several at once. Default: its threads."),
    ] = None,
    gpus: Annotated[
        float | None, Parameter(help="Share of a GPU for one training under ray, such as 0.25. Default: 1 on CUDA.")
    ] = None,
    ranks: Annotated[int, Parameter(help="Number of devices for each training (DDP, under ray).")] = 1,
    replicates: Annotated[
        str | None,
        Parameter(help="Run only these replicates, such as 6-9 or 0,3; all unless given.", metavar="REPLICATES"),
    ] = None,
    price: Annotated[float | None, Parameter(help="Price of one hour of the machine, for --dry-run.")] = None,
    measure: Annotated[
        bool,
        Parameter(
            help="With --dry-run: time a few optimizer steps of each kind of training whose duration is unknown.",
            negative="",
        ),
    ] = False,
    track: Track = None,
    json: Json = False,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Run a study: all trainings of its grid that are not in the store yet, here or on a cluster."""
    several = engine in ("auto", "processes") and not (dry_run or address or gpus or ranks > 1 or how.together > 1)
    several = several and how.device in ("auto", "cpu")
    with telling(quiet=quiet or json), expected() if several else nullcontext():
        with loading():
            from oneticket.cli.study import study as command
            from oneticket.engine.engine import Engine
        return command(
            name,
            engine=Engine(name=engine, address=address, cpus=cpus, gpus=gpus, ranks=ranks, together=how.together),
            dry_run=dry_run,
            replicates=replicates,
            json=json,
            price=price,
            measure=measure,
            track=track or [],
            how=how,
            store=store,
            quiet=quiet,
        )


def init(
    file: Annotated[Path, Parameter(help="The file to write.")] = Path("study.toml"),
    /,
) -> int:
    """Write a study file with comments, which runs as it is."""
    from oneticket.cli.init import init as command

    return command(file)


def report(
    name: Name,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the page, the figures and the rows.")],
    show: Annotated[bool, Parameter(name="--open", help="Open the report in a browser.", negative="")] = False,
    store: Keep = KEEP,
) -> int:
    """Write the report of a study, finished or not: one page with figures, rows and verdicts."""
    with telling(quiet=False):
        with loading():
            from oneticket.cli.study import report as command
        return command(name, out=out, show=show, store=store)


def status(name: Name, /, *, json: Json = False, store: Keep = KEEP) -> int:
    """Print the progress of a study: what is done, running, failed and left to do."""
    with telling(quiet=json), uncollected():
        with loading():
            from oneticket.cli.study_status import status as command
        return command(name, json=json, store=store)


def board(
    *studies: Annotated[
        str, Parameter(help="Studies whose verdicts and figures are shown as they fill, as for `oneticket report`.")
    ],
    store: Keep = KEEP,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1; 0 for any that is free.")] = 8321,
    ipv6: Annotated[bool, Parameter(name="--ipv6", help="Listen on [::1], too.", negative="")] = False,
    show: Annotated[bool, Parameter(name="--open", negative="--no-open", help="Open it in a browser.")] = True,
) -> int:
    """Show a store in the browser while a study runs: progress, live curves, tickets. It reads and changes nothing."""
    with telling(quiet=False):
        with loading():
            from oneticket.cli.board import board as command
        return command(studies, store=store, port=port, ipv6=ipv6, show=show)


store = App(name="store", help="List, show, verify and clear the store of finished work.")


@store.command
def ls(
    *,
    kind: Annotated[
        str | None, Parameter(help="Only entries of this kind: rewind, level, transfer or book.", metavar="KIND")
    ] = None,
    json: Json = False,
    store: Keep = KEEP,
) -> int:
    """List the entries, and their total size and time."""
    with telling(quiet=json), uncollected(), phase(LISTING):
        from oneticket.cli.store import ls as command

        return command(store=store, kind=kind, json=json)


@store.command(name="show")
def show_entry(
    key: Annotated[str, Parameter(help="An entry's address, or enough of its beginning.")], /, *, store: Keep = KEEP
) -> int:
    """Print everything about one entry: what it is, its record, when and where it was made, what it needs."""
    with telling(quiet=False), phase(LISTING):
        from oneticket.cli.store import show as command

        return command(key, store=store)


@store.command
def gc(
    *,
    keep: Annotated[
        list[str] | None,
        Parameter(
            help="Keep only the results that this study needs. May be repeated.", negative="", metavar="STUDY..."
        ),
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Print what would be removed; remove nothing.", negative="")] = False,
    store: Keep = KEEP,
) -> int:
    """Remove leftovers of interrupted work; with --keep, also all results that the named studies do not need."""
    with telling(quiet=False):
        with loading():
            from oneticket.cli.study import clear as command
        return command(keep or [], dry_run=dry_run, store=store)


@store.command(name="verify")
def verify_store(*, json: Json = False, store: Keep = KEEP) -> int:
    """Check every entry by its digest; damaged ones are set aside, and the next run makes them again."""
    with telling(quiet=json), uncollected(), phase(CHECKING):
        from oneticket.cli.store import verify as command

        return command(store=store, json=json)
