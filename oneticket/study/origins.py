"""Origins: where the tickets of a comparison come from, a search that is planned or a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from oneticket.data.facts import per_epoch
from oneticket.ground import canon
from oneticket.ground.errors import SpecError, TransferError
from oneticket.ground.spec import Spec, own_code
from oneticket.lottery.accounting import Seen
from oneticket.lottery.outline import network, rewind_step
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import MOST_LEVELS, SearchSpec
from oneticket.models.build import outline
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.pruning.prune import survivors
from oneticket.pruning.spec import PruningSpec
from oneticket.pruning.units import find
from oneticket.store.step import Step
from oneticket.study.cells import Origin
from oneticket.study.labels import Labels, model_label, usual_labels
from oneticket.study.steps import FileStep, LevelStep, RewindStep
from oneticket.ticket.book import MOST_LEVELS as DEEPEST
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket


def search_origin(
    spec: SearchSpec, *, levels: int, replicate: int, context: RunContext, called: Labels | None = None
) -> Origin:
    """A planned search, from level 0 to `levels`; each level needs the rewind weights and the level above it.

    The digest of the data is part of each address: data that changed under its name means other work. Raises SpecError
    for a level that would prune nothing.

    >>> found = search_origin(SearchSpec(data="digits:a", model="mlp"), levels=2, replicate=0, context=RunContext())
    >>> [step.args["level"] for step in found.levels], found.levels[2].needs[1] is found.levels[1]
    ([0, 1, 2], True)
    """
    if not 0 <= levels <= MOST_LEVELS:
        raise SpecError(f"levels: expected 0 to {MOST_LEVELS}, got {levels}")
    facts, code = context.facts(spec.data, spec.task), code_digests(spec)
    digests = {"data_digest": facts.digest, **code}
    rewind = RewindStep(spec=spec, replicate=replicate, digests=digests).step
    steps: list[Step] = []
    for number in range(levels + 1):
        needs = (rewind, *steps[-1:])
        planned = LevelStep(spec=spec, replicate=replicate, digests=digests, number=number, needs=needs)
        steps.append(planned.step)
    known = network(spec, context)
    layers, remaining = _counted(spec.pruning, canon.dumps(known), levels, canon.dumps(code))
    for level, (above, here) in enumerate(pairwise(remaining), start=1):
        if here == above:
            raise SpecError(
                f"level {level} would prune nothing, since {here} weights remain and no more may be pruned; ask for "
                f"levels up to {level - 1}, or a larger fraction"
            )
    return Origin(
        replicate=replicate,
        network=known,
        search=spec.plain(),
        remaining=dict(enumerate(remaining)),
        seen=Seen(steps=rewind_step(spec, facts), digest=context.selection(spec.data, spec.task).digest),
        layers=layers,
        called=called or usual_labels(spec.model, spec.data, spec.optimizer),
        levels=tuple(steps),
        total=spec.training.budget.steps(epoch := per_epoch(facts, spec.training.batch)),
        epoch=epoch,
    )


def file_origin(thing: Book | Ticket, file: Path | None, replicate: int) -> Origin:
    """A book or ticket from a file, or from the store alone: its step's address is its id, wherever it lies.

    Raises TransferError if it names a network that does not fit it, or a search that cannot have been.
    """
    from oneticket.lottery.transfer import network_of, seen_by

    whose = str(file) if file else "the source"
    model, search = network_of(thing, whose=whose)[0], search_of(thing, whose=whose)
    called = Labels(model=model_label(model)) if search is None else usual_labels(model, search.data, search.optimizer)
    if isinstance(thing, Ticket):
        remaining = {ticket_level(thing): thing.mask.remaining}
    else:
        remaining = {level: thing.mask(level).remaining for level in range(len(thing))}
    return Origin(
        replicate=replicate,
        network=thing.model,
        search={} if search is None else search.plain(),
        remaining=remaining,
        seen=seen_by(thing),
        called=called,
        file=FileStep(kind="ticket" if isinstance(thing, Ticket) else "book", id=thing.id, file=file),
    )


def search_of(thing: Book | Ticket, *, whose: str = "the ticket") -> SearchSpec | None:
    """The search that found it; None if unknown, as for the user's own loop. Raises TransferError."""
    said = thing.lineage.get("search") or None
    if said is None or (isinstance(said, Mapping) and "data" not in said):
        return None
    try:
        return SearchSpec.recall(said)
    except SpecError as error:
        raise TransferError(f"{whose}: lineage.{str(error).replace(chr(10), '; ')}") from error


def ticket_level(ticket: Ticket) -> int:
    """The level at which a ticket was found; 1 if unknown."""
    level = ticket.lineage.get("level")
    return level if type(level) is int and 0 <= level <= DEEPEST else 1


def code_digests(*specs: Spec) -> dict[str, str]:
    """The digests of the user's own code in an address, such as `criterion_digest`."""
    return {f"{table.kind}_digest": table.digest(path) for spec in specs for table, path in own_code(spec)}


@lru_cache(maxsize=256)
def _counted(rule: PruningSpec, network: str, levels: int, _code: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the prunable weights in the model's order, and how many remain at each level: needs no scores."""
    known = json.loads(network)
    spec = ModelSpec.recall(known["spec"])
    model = outline(known)
    shapes = {name: tuple(model.get_parameter(name).shape) for name in prunable(model, spec.prunable)}
    units = find(rule, model, shapes)
    return (*shapes,), tuple(survivors(rule, shapes, levels=level, units=units) for level in range(levels + 1))
