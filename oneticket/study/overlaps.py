"""Overlaps: which sources of a comparison share examples with the targets that their tickets are transferred to."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from oneticket.data.find import find
from oneticket.data.overlap import Selection
from oneticket.data.sources import DataRequest
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError, SpecError, TransferError
from oneticket.ground.spec import own_code
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.study.cells import Cell, Origin
from oneticket.study.origins import file_origin
from oneticket.study.steps import TransferStep
from oneticket.task.inputs import Inputs
from oneticket.task.task import task_of
from oneticket.ticket.ticket import Ticket


def overlaps(cells: Iterable[Cell], context: RunContext) -> tuple[str, ...]:
    """A sentence for each source that is not the target and has some of its examples; the most in any replicate.

    A consensus is not the target, so that each of its searches counts, one on the target itself too.

    For a ticket or book in a file, the data of its search are checked if they are available and unchanged. Nothing is
    fetched for that, and no code that the file names is run; unknown overlaps are not reported.
    """
    most: dict[tuple[str, str], tuple[int, int]] = {}
    asked: set[tuple[str, ...]] = set()
    sources: dict[str, Selection | None] = {}
    for cell in cells:
        if cell.step.kind != TransferStep.kind:
            continue
        for origin in cell.origin.each if cell.origin else ():
            several = bool(cell.origin and cell.origin.of)
            pair = _called(origin, cell.origin), str(cell.called.data)
            again = (_name(origin), *pair, cell.part)
            if again in asked:
                continue
            asked.add(again)
            if again[0] not in sources:
                sources[again[0]] = _selection(origin, context)
            source = sources[again[0]]
            if source is None:
                continue
            spec = TransferStep.read(cell.step).spec
            target = context.selection(spec.data, spec.task, Inputs.read(origin.network))
            if several or source.digest != target.digest:
                found = source.shared(target)
                before = most.get(pair, found)
                most[pair] = max(before[0], found[0]), max(before[1], found[1])
    return tuple(_said(source, target, *counts) for (source, target), counts in most.items() if any(counts))


def used(ticket: Ticket, data: DataSpec, context: RunContext) -> tuple[int, int]:
    """How many training and test examples of a set the search of a ticket trained on; 0 where that is not known.

    They are compared as the ticket's network is given them.

    >>> used(Ticket.load("digits-a"), DataSpec(name="digits"), RunContext())
    (719, 0)
    >>> used(Ticket.load("digits-a"), DataSpec(name="digits:b"), RunContext())
    (0, 0)
    """
    with suppress(DataError, SpecError, TransferError):
        origin = file_origin(ticket, None, 0)
        if source := _selection(origin, context):
            return source.shared(context.selection(data, inputs=Inputs.read(origin.network)))
    return 0, 0


def _called(origin: Origin, whole: Origin | None) -> str:
    """What a source is called: a search of a consensus with the consensus."""
    name, agreed = str(origin.called.data), str(whole.called.data) if whole and whole.of else ""
    return f"{name} in {agreed}" if agreed and not name.endswith(agreed) else name


def _name(origin: Origin) -> str:
    """The name that distinguishes searches, also of several replicates, which may have drawn other examples."""
    return origin.levels[0].key if origin.levels else f"{origin.file.id} {origin.replicate}" if origin.file else ""


def _selection(origin: Origin, context: RunContext) -> Selection | None:
    """The examples that the search of a source saw; None where that is not known."""
    if not origin.search:
        return None
    search = SearchSpec.read(dict(origin.search))
    if origin.levels:
        return context.selection(search.data, search.task)
    if [*own_code(search.data), *own_code(search.task)]:
        return None
    with suppress(DataError, SpecError):
        for member in search.data.members:
            find(DataRequest(spec=member, targets=task_of(search.task).targets), fetch=False)
        if context.facts(search.data, search.task).digest == origin.seen.whole:
            return context.selection(search.data, search.task)
    return None


def _said(source: str, target: str, train: int, test: int) -> str:
    """In words.

    >>> _said("a", "b", 3, 0)
    "The source a shares examples with the target b: 3 of its training examples are in the target's training set."
    """
    counts = {"training": train, "test": test}
    parts = [
        f"{count:,} of its training examples are in the target's {name} set" for name, count in counts.items() if count
    ]
    return f"The source {source} shares examples with the target {target}: {', and '.join(parts)}."
