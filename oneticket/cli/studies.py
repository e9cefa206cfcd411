"""The commands of studies and of the store, as the command line describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from oneticket.cli.parameters import HOW, KEEP, How, Keep, Quiet

Name = Annotated[
    str,
    Parameter(help="A study file, the name of a shipped one (demo, digits, paper-small, paper), or mine.py:function."),
]


def study(
    name: Name,
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(help="Only say what there is to do, and how long it may take.", negative="")
    ] = False,
    engine: Annotated[
        Literal["auto", "inline", "ray"],
        Parameter(
            help="inline: in this process. ray: as many at once as fit. auto: ray where it helps and is installed."
        ),
    ] = "auto",
    address: Annotated[
        str | None, Parameter(help="A running Ray cluster, as auto or host:port; this machine alone unless given.")
    ] = None,
    cpus: Annotated[
        float | None,
        Parameter(help="CPU cores that one training takes under ray; as many as its threads unless given."),
    ] = None,
    gpus: Annotated[
        float | None, Parameter(help="Share of a GPU that one training takes under ray, such as 0.25; 1 on CUDA.")
    ] = None,
    ranks: Annotated[int, Parameter(help="Spread every training over so many devices (DDP, under ray).")] = 1,
    price: Annotated[float | None, Parameter(help="Price of an hour of the machine, for --dry-run.")] = None,
    track: Annotated[
        list[str] | None,
        Parameter(
            help="Also log to tensorboard:FOLDER, mlflow:FOLDER, wandb:FOLDER or your own file.py:function:WHERE; may "
            "be given again.",
            negative="",
        ),
    ] = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Run a study: every training of its grid that is not in the store yet, once, here or on a cluster.

    Example:

    oneticket study studies/digits.toml
    """
    from oneticket.cli.study import study as command
    from oneticket.engine.engine import Engine

    return command(
        name,
        engine=Engine(name=engine, address=address, cpus=cpus, gpus=gpus, ranks=ranks, together=how.together),
        dry_run=dry_run,
        price=price,
        track=track or [],
        how=how,
        store=store,
        quiet=quiet,
    )


def report(
    name: Name,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the page, the figures and the rows.")],
    store: Keep = KEEP,
) -> int:
    """Write the report of a study as far as it is done: one page, every figure, the rows, a verdict for each claim.

    Example:

    oneticket report studies/digits.toml --out report
    """
    from oneticket.cli.study import report as command

    return command(name, out=out, store=store)


def status(name: Name, /, *, store: Keep = KEEP) -> int:
    """Print how far a study is: what is done, under way and by whom, failed and why, and left to do."""
    from oneticket.cli.study import status as command

    return command(name, store=store)


store = App(name="store", help="Look into the store, clear it up, and prove that it is whole.")


@store.command
def ls(
    *,
    kind: Annotated[str | None, Parameter(help="Only entries of this kind: rewind, level, transfer or book.")] = None,
    store: Keep = KEEP,
) -> int:
    """List the entries, one a line, and what all of them come to."""
    from oneticket.cli.store import ls as command

    return command(store=store, kind=kind)


@store.command(name="show")
def show_entry(
    key: Annotated[str, Parameter(help="An entry's address, or enough of its beginning.")], /, *, store: Keep = KEEP
) -> int:
    """Print all that is known of an entry: what it is, its record, where and when it was made, what it needs."""
    from oneticket.cli.store import show as command

    return command(key, store=store)


@store.command
def gc(
    *,
    keep: Annotated[
        list[str] | None,
        Parameter(help="Keep the outcomes that this study needs, and no others; may be given again.", negative=""),
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Only say what would be removed.", negative="")] = False,
    store: Keep = KEEP,
) -> int:
    """Remove leftovers of interrupted work, and with --keep all outcomes that the named studies do not need."""
    from oneticket.cli.study import clear as command

    return command(keep or [], dry_run=dry_run, store=store)


@store.command(name="verify")
def verify_store(*, store: Keep = KEEP) -> int:
    """Prove every entry by its digest, and set aside what is damaged, so that the next run makes just that anew."""
    from oneticket.cli.store import verify as command

    return command(store=store)
