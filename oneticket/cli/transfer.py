"""`oneticket transfer`: a source's tickets on a target, beside the dense network and the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneticket.cli.books import sources_at
from oneticket.cli.flags import FROM_SOURCE, collect, from_file, read
from oneticket.cli.parameters import How
from oneticket.cli.session import run_steps
from oneticket.cli.tables import print_tables
from oneticket.cli.terminal import say
from oneticket.cli.track import tracking
from oneticket.engine.engine import Engine
from oneticket.ground.errors import CarryError, SpecError
from oneticket.ground.spec import texts
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import CROSSED, OF_TARGET, TransferSpec
from oneticket.lottery.transfer import check_code, network_of, replicate_of
from oneticket.report.decomposition import decomposition_lines
from oneticket.report.export import check_rows, write_rows
from oneticket.report.verdict import sentence
from oneticket.stats.decomposition import decompositions
from oneticket.store.store import Store
from oneticket.study.cells import Cell, Origin
from oneticket.study.plan import file_origin, search_of, search_origin, ticket_level, transfer_cells
from oneticket.study.rows import rows as rows_of
from oneticket.study.spec import CarrySpec
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket


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
    """Carry, print the comparison, and write the rows where asked."""
    engine = Engine(name="inline", together=how.together)
    sources = sources_at(source)
    first = next(iter(sources.values()))[1]
    searches = []
    for file, thing in sources.values():
        check_code(network_of(thing, whose=str(file))[0], run_code=run_code, how="--run-code")
        searches.append(search_of(thing, whose=str(file)))
    settings = collect(CarrySpec, given, {"transfer": as_source(first)}, from_file(spec))
    asked = read(CarrySpec, settings, flagged=given, file=spec)
    named = {*texts(given), *texts(from_file(spec))}
    check_code(asked.transfer, run_code=run_code, how="--run-code", named=named)
    at_target = [arm for arm in asked.controls if arm in (*OF_TARGET, *CROSSED)]
    for searched in filter(None, searches if at_target else ()):
        check_code(searched.pruning, run_code=run_code, how="--run-code")
    check_rows(rows)
    if asked.replicates is not None:
        if len(sources) > 1:
            raise SpecError(
                f"--replicates: {source} holds {len(sources)} books, which are the replicates; leave it out"
            )
        sources = dict.fromkeys(range(asked.replicates), next(iter(sources.values())))
    levels = asked.levels or (
        (ticket_level(first),) if isinstance(first, Ticket) else tuple(range(1, first.levels + 1))
    )
    kept, context = Store(store), how.context()
    cells: list[Cell] = []
    for replicate, (file, thing) in sources.items():
        origin = file_origin(thing, file, replicate)
        if beyond := [level for level in levels if level not in origin.living]:
            held = "level" if len(origin.living) == 1 else f"levels {min(origin.living)} to"
            raise SpecError(f"--levels: {file} holds {held} {max(origin.living)}, got {beyond[0]}")
        crossed = [arm for arm in at_target if arm in CROSSED]
        if crossed and replicate != replicate_of(thing):
            raise SpecError(
                f"--controls {crossed[0]}: {file} is replicate {replicate_of(thing)} of its search, and the target's "
                f"own would begin from the weights of replicate {replicate}; leave out --replicates, and give a folder "
                "of books for more"
            )
        own = None
        if at_target:
            own = own_search(thing, asked.transfer, max(levels), replicate, context, arm=at_target[0])
        arms = ("dense", "ticket", *asked.controls)
        cells += transfer_cells(
            asked.transfer,
            origin=origin,
            own=own,
            arms=arms,
            levels=levels,
            context=context,
            head_start=asked.head_start,
        )
    with tracking(track, kept) as heard:
        steps = [cell.step for cell in cells]
        piles = run_steps(steps, store=kept, context=context, quiet=quiet, engine=engine, heard=heard, each=True)
    found = rows_of(cells, kept)
    if rows is not None:
        write_rows(found, rows)
    if found and not quiet:
        print_tables(found)
        for line in (sentence(found), *decomposition_lines(decompositions(found))):
            say(line)
    return 1 if piles.failed else 0


def as_source(thing: Book | Ticket) -> dict[str, Any]:
    """The task, optimizer, training and seed that the source was found with, which a transfer takes unless told."""
    search = thing.lineage.get("search") or {}
    return {name: search[name] for name in FROM_SOURCE if name in search}


def own_search(
    thing: Book | Ticket, target: TransferSpec, levels: int, replicate: int, context: RunContext, *, arm: str = "own"
) -> Origin:
    """The source's search on the target: its network, pruning and rewind point, the target's data and training.

    `arm`: which control needs it.

    Raises SpecError where that is not known, CarryError if the search was of another network than the source is.
    """
    network, inputs, _ = network_of(thing)
    search = search_of(thing)
    if search is None:
        raise SpecError(
            f"--controls {arm}: the source does not say how it was searched for, so the target's own cannot be"
        )
    if search.model != network:
        raise CarryError(f"lineage.search.model: {search.model.name} is not model.spec, the source's {network.name}")
    data = target.data
    if inputs.kind == "images" and context.facts(data, target.task).inputs != inputs:
        channels, height, width = inputs.shape
        if height != width:
            raise SpecError(f"--controls {arm}: needs square images, the source was found with {height} x {width}")
        data = data.but(size=data.size or height, channels=data.channels or channels)
    if inputs.kind == "tokens":
        taken = context.facts(data, target.task, inputs).inputs  # texts have the network's length, or it is refused
        if taken.shape != context.facts(data, target.task).inputs.shape:
            data = data.but(length=taken.shape[0])
    spec = search.but(
        data=data, task=target.task, optimizer=target.optimizer, training=target.training, seed=target.seed
    )
    return search_origin(spec, levels=levels, replicate=replicate, context=context)
