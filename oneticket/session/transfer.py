"""A transfer with our own trainer from Python: the comparison of `oneticket transfer`, found again in its store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oneticket.ground.errors import SpecError, TransferError
from oneticket.ground.spec import over, texts
from oneticket.lottery.arms import CROSSED, OF_TARGET
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import HeadStart, TransferSpec
from oneticket.lottery.transfer import check_code, network_of
from oneticket.session.called import called
from oneticket.session.run import run_steps
from oneticket.session.sources import Sources, sources_of
from oneticket.store.store import Store
from oneticket.study.cells import Cell, Origin
from oneticket.study.draws import subset, without_draws
from oneticket.study.labels import Labels, data_label
from oneticket.study.origins import file_origin, search_of, search_origin, ticket_level
from oneticket.study.overlaps import overlaps
from oneticket.study.plan import transfer_cells
from oneticket.study.rows import Rows, rows
from oneticket.study.sources import Subsets
from oneticket.study.spec import FROM_SOURCE, ComparisonSpec
from oneticket.study.steps import FileStep
from oneticket.ticket.book import Book
from oneticket.ticket.describe import replicate_of
from oneticket.ticket.ticket import Ticket


def transfer(
    spec: TransferSpec | Mapping[str, Any],
    *,
    source: Ticket | Book | str | os.PathLike[str] | Sequence[Book],
    controls: Sequence[str] = ("reinit", "global-random"),
    levels: int | Sequence[int] = (),
    replicates: int | None = None,
    subsets: Subsets = "fixed",
    head_start: HeadStart = "equal",
    store: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    track: Sequence[str] = (),
    context: RunContext | None = None,
    run_code: bool = False,
) -> Rows:
    """Train a ticket, the dense network and controls on a target, and return a row for each trained network.

    It does what `oneticket transfer` does. `spec`: the target; a mapping without task, optimizer, training or seed
    takes them from the source. `source`: a ticket, a book, their file, a folder of books, or several
    books, which are the replicates. `levels`: which of a book's levels; all but the dense one unless given.
    `replicates`: how often to train a single ticket or book, each time with another output layer, order and controls.
    `subsets`: of a target with `per_class` examples, the same ones in all replicates, or drawn anew (`replicate`).
    `head_start`: whether target steps inside rewound weights count (`lottery/accounting`). `store`, `progress`,
    `track`, `context`: as for `search`. `run_code`: whether code that the source's file names may be run.
    A warning says how many examples of the target the source's search used, if the source's data are available.

    Raises SpecError for a level or arm that the source does not have; TransferError if it does not name its network,
    does not fit the target, or names code that may not run; StoreError, DataError and KeyboardInterrupt as `search`
    does. Morcos et al. 2019, arXiv 1906.02773.

    >>> from oneticket.session.search import search
    >>> quick = {"budget": "1ep"}
    >>> book = search({"data": "digits:a", "model": "mlp", "training": quick, "rewind": "1it"}, levels=1)
    >>> rows = transfer({"data": "digits:b", "optimizer": "adam"}, source=book, controls=["reinit"])
    >>> [(row["arm"], row["level"], round(row["density"], 2)) for row in rows]
    [('dense', 0, 1.0), ('ticket', 1, 0.8), ('reinit', 1, 0.8)]
    """
    context, kept, sources = context or RunContext(), Store(store), sources_of(source)
    given = over(as_source(*next(iter(sources.values()))), spec) if isinstance(spec, Mapping) else spec
    asked = ComparisonSpec.read(
        {
            "transfer": given,
            "controls": controls,
            "levels": (levels,) if isinstance(levels, int) else levels,
            "head_start": head_start,
            "replicates": replicates,
            "subsets": subsets,
        }
    )
    named = {*texts(spec if isinstance(spec, Mapping) else spec.plain())}
    cells = comparison(asked, sources, context=context, run_code=run_code, named=named)
    for doubt in overlaps(cells, context):
        warnings.warn(doubt, UserWarning, stacklevel=2)
    for file, thing in sources.values():
        if file is None:
            step = FileStep(kind="ticket" if isinstance(thing, Ticket) else "book", id=thing.id, file=None).step
            if not kept.has(step):
                kept.put(step, FileStep.encode(thing), seconds=0.0, device="cpu")
    steps = [cell.step for cell in cells]
    names = called(cells, places=False)
    piles = run_steps(steps, store=kept, context=context, progress=progress, track=track, each=True, names=names)
    if piles.failed:
        raise piles.failed[0][1]
    return rows(cells, kept)


def comparison(
    asked: ComparisonSpec,
    sources: Sources,
    *,
    context: RunContext,
    run_code: bool,
    named: Collection[str],
    dashes: str = "",
) -> list[Cell]:
    """The networks of a comparison: the dense one, the tickets and their controls, at each level and replicate.

    `named`: paths of code that the user wrote, which may run. `dashes`: what stands before a setting's name in errors.
    """
    how = "--run-code" if dashes else "run_code=True"
    first = next(iter(sources.values()))[1]
    searches = []
    for file, thing in sources.values():
        whose = _whose(file)
        check_code(network_of(thing, whose=whose)[0], run_code=run_code, how=how)
        searches.append(search_of(thing, whose=whose))
    check_code(asked.transfer, run_code=run_code, how=how, named=named)
    at_target = [arm for arm in asked.controls if arm in (*OF_TARGET, *CROSSED)]
    for searched in filter(None, searches if at_target else ()):
        check_code(searched.pruning, run_code=run_code, how=how)
    if asked.replicates is not None:
        if len(sources) > 1:
            raise SpecError(
                f"{dashes}replicates: there are {len(sources)} books, which are the replicates; leave it out"
            )
        sources = dict.fromkeys(range(asked.replicates), next(iter(sources.values())))
    levels = asked.levels or (
        (ticket_level(first),) if isinstance(first, Ticket) else tuple(range(1, first.levels + 1))
    )
    cells: list[Cell] = []
    alike = without_draws([one.data for one in searches if one])  # books of a folder, each found on its own draw
    for replicate, (file, thing) in sources.items():
        whose, origin = _whose(file), file_origin(thing, file, replicate)
        if alike:
            origin = replace(origin, called=replace(origin.called, data=data_label(alike)))
        if beyond := [level for level in levels if level not in origin.remaining]:
            held = "level" if len(origin.remaining) == 1 else f"levels {min(origin.remaining)} to"
            raise SpecError(f"{dashes}levels: {whose} holds {held} {max(origin.remaining)}, got {beyond[0]}")
        crossed = [arm for arm in at_target if arm in CROSSED]
        if crossed and replicate != replicate_of(thing):
            raise SpecError(
                f"{dashes}controls {crossed[0]}: {whose} is replicate {replicate_of(thing)} of its search, and the "
                f"target's own would begin from the weights of replicate {replicate}; leave out {dashes}replicates, "
                "and give a folder of books for more"
            )
        target = asked.transfer.but(data=subset(asked.transfer.data, replicate, asked.subsets))
        model, optimizer = origin.called.model, asked.transfer.optimizer.name
        shown = Labels(model=model, data=data_label(asked.transfer.data), optimizer=optimizer)
        own = None
        if at_target:
            arm = f"{dashes}controls {at_target[0]}"
            own = own_search(thing, target, max(levels), replicate, context, needed=arm)
            own = own if target == asked.transfer else replace(own, called=shown)
        cells += transfer_cells(
            target,
            origin=origin,
            own=own,
            arms=("dense", "ticket", *asked.controls),
            levels=levels,
            context=context,
            head_start=asked.head_start,
            called=shown,
        )
    return cells


def as_source(file: Path | None, thing: Book | Ticket) -> dict[str, Any]:
    """The task, optimizer, training and seed of the source's search, which are a transfer's defaults.

    Raises TransferError for an impossible search.
    """
    search = search_of(thing, whose=_whose(file))
    known = (thing.lineage.get("search") or {}) if search is None else search.plain()  # a loop of one's own says less
    return {name: known[name] for name in FROM_SOURCE if name in known}


def _whose(file: Path | None) -> str:
    """How errors call a source."""
    return str(file) if file else "the source"


def own_search(
    thing: Book | Ticket, target: TransferSpec, levels: int, replicate: int, context: RunContext, *, needed: str
) -> Origin:
    """The source's search on the target: its network, pruning and rewind point, the target's data and training.

    `needed`: which setting asks for it.

    Raises SpecError where that is not known, TransferError if the search was of another network than the source is.
    """
    network, inputs, _ = network_of(thing)
    search = search_of(thing)
    if search is None:
        raise SpecError(
            f"{needed}: the source does not say how it was searched for, so the target's own search is not known"
        )
    if search.model != network:
        raise TransferError(f"lineage.search.model: {search.model.name} is not model.spec, the source's {network.name}")
    data = target.data
    if inputs.kind == "images" and context.facts(data, target.task).inputs != inputs:
        channels, height, width = inputs.shape
        if height != width:
            raise SpecError(f"{needed}: needs square images, the source was found with {height} x {width}")
        data = data.but(size=data.size or height, channels=data.channels or channels)
    if inputs.kind == "tokens":
        taken = context.facts(data, target.task, inputs).inputs  # texts have the network's length, or it is refused
        if taken.shape != context.facts(data, target.task).inputs.shape:
            data = data.but(length=taken.shape[0])
    spec = search.but(
        data=data, task=target.task, optimizer=target.optimizer, training=target.training, seed=target.seed
    )
    return search_origin(spec, levels=levels, replicate=replicate, context=context)
