"""What each kind of step does: the lottery's functions, with outcomes going in and out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from oneticket.ground.errors import SpecError, StoreError
from oneticket.ground.spec import Spec, own_code
from oneticket.ground.table import Table
from oneticket.lottery.arms import ARMS, CROSSED
from oneticket.lottery.consensus import consensus
from oneticket.lottery.controls import Source
from oneticket.lottery.grouping import Placed, placed
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import book, initial_weights, level, level_ticket, rewind_weights
from oneticket.lottery.training_request import Work
from oneticket.lottery.transfer import blank, train_arm
from oneticket.models.spec import ModelSpec
from oneticket.store.step import Outcome, Step
from oneticket.study.origins import search_of
from oneticket.study.steps import (
    Blank,
    ConsensusStep,
    Digests,
    FileStep,
    LevelStep,
    RewindStep,
    SourceTicket,
    StudyStep,
    TransferStep,
    pruned_at,
    read_step,
    recalled,
)
from oneticket.ticket.book import Book
from oneticket.ticket.describe import replicate_of
from oneticket.ticket.file import load
from oneticket.ticket.ticket import Ticket

Needs = Sequence[Outcome]


def work(step: Step, needs: Needs, context: RunContext) -> Placed[Outcome]:
    """The step as a task: a pure function of its arguments and of what it needs."""
    return placed(_work(step, needs, context), context)


def outdated(step: Step, needs: Needs) -> Step | None:
    """The need that an earlier version made without what this step looks at: the signs of a level's trained weights."""
    asked = read_step(step)
    if not isinstance(asked, TransferStep) or asked.arm != "trained-signs":
        return None
    return step.needs[-1] if LevelStep.decode(needs[-1]).positive is None else None


def bind(step: Step, needs: Needs, records: Sequence[Mapping[str, Any]]) -> Book:
    """A search's book, from any of its level steps, (rewind weights, deepest level), and the records from level 0."""
    asked = LevelStep.read(step)
    rewound, pruned_at = RewindStep.decode(needs[0]), LevelStep.decode(needs[1]).pruned_at
    return book(asked.spec, asked.replicate, rewound=rewound, pruned_at=pruned_at, records=records)


def _work(step: Step, needs: Needs, context: RunContext) -> Work[Outcome]:
    asked = read_step(step)
    code = [*_code(asked, needs)]
    _check_code(code)
    done = yield from _done(asked, needs, context)
    _check_code(code)  # a notebook may have planned something else meanwhile
    return done


def _code(asked: StudyStep, needs: Needs) -> Iterator[tuple[Table[Any], str, str | None]]:
    """The user's own code that a step runs, as a table and a path, each with its digest in the plan."""
    specs: list[tuple[Digests, Spec]] = []
    match asked:
        case ConsensusStep():
            specs = [(level.digests, level.spec) for level in map(LevelStep.read, asked.needs[1::2])]
        case TransferStep():
            specs = [(asked.digests, asked.spec), (asked.digests, _model(asked.source, needs))]
            if ARMS.is_own(asked.arm):
                yield ARMS, asked.arm, asked.digests.get("control_digest")
        case RewindStep() | LevelStep():
            specs = [(asked.digests, asked.spec)]
    for digests, spec in specs:
        yield from ((table, path, digests.get(f"{table.kind}_digest")) for table, path in own_code(spec))


def _model(source: Blank | SourceTicket, needs: Needs) -> ModelSpec:
    """The network that a transfer trains."""
    if not isinstance(source, Blank) and source.file is None:
        return source.searched.spec.model
    network = source.network if isinstance(source, Blank) else needs[0].record["model"]
    return recalled(ModelSpec, network["spec"])


def _check_code(code: Iterable[tuple[Table[Any], str, str | None]]) -> None:
    """Refuse code that is not what the step's address says: its outcome would be reused for what the plan meant."""
    for table, path, planned in code:
        if table.executed(path) != planned:
            raise SpecError(
                f"{table.kind} {path!r}: its code changed since the study was planned; run the same command again"
            )


def _done(asked: StudyStep, needs: Needs, context: RunContext) -> Work[Outcome]:
    match asked:
        case RewindStep():
            return RewindStep.encode((yield from rewind_weights(asked.spec, asked.replicate, context)))
        case LevelStep():
            rewound, *above = needs
            done = yield from level(
                asked.spec,
                asked.replicate,
                asked.number,
                rewound=RewindStep.decode(rewound),
                pruned_at=pruned_at(above[0]) if above else None,
                context=context,
            )
            return LevelStep.encode(done)
        case TransferStep():
            source = _source(asked, needs)
            trained = yield from train_arm(
                asked.spec, source=source, arm=asked.arm, replicate=asked.replicate, start=asked.start, context=context
            )
            return TransferStep.encode(trained)
        case ConsensusStep():
            return FileStep.encode(_agreed(asked, needs))
        case FileStep():
            return FileStep.encode(_read(asked))


def _agreed(asked: ConsensusStep, needs: Needs) -> Book:
    """The consensus of searches, each given by its rewind weights and the level above."""
    books = []
    for step, rewound, above in zip(asked.needs[1::2], needs[::2], needs[1::2], strict=True):
        level = LevelStep.read(step)
        weights, masks = RewindStep.decode(rewound), pruned_at(above)
        books.append(book(level.spec, level.replicate, rewound=weights, pruned_at=masks, levels=asked.level))
    return consensus(books, weights=asked.weights, run_code=True)


def _source(asked: TransferStep, needs: Needs) -> Source:
    """Where the arm of a transfer is taken from."""
    source = asked.source
    if isinstance(source, Blank):
        return Source(ticket=blank(source.network, source.remaining))
    if asked.arm in CROSSED:
        own = _searched(source.level, source.needs[-2:], needs[-2:])
        return replace(_source_ticket(asked.arm, source, needs[:-2]), own=own)
    return _source_ticket(asked.arm, source, needs)


def _source_ticket(arm: str, source: SourceTicket, needs: Needs) -> Source:
    """A level of a book or a search, or a single ticket."""
    if source.file is None:
        found = _searched(source.level, source.needs, needs) if source.agreed is None else _of_book(source, needs[0])
        began = source.searched
        seed, replicate = began.spec.seed, began.replicate
    else:
        read = FileStep.decode(needs[0])
        if isinstance(read, Ticket):
            return Source(ticket=read)
        found = _of_book(source, needs[0])
        searched = search_of(read)
        if searched is None:
            return found
        seed, replicate = searched.seed, replicate_of(read)
    if arm != "mask-init":
        return found
    return replace(found, initial=initial_weights(found.ticket.model, seed=seed, replicate=replicate))


def _of_book(source: SourceTicket, need: Outcome) -> Source:
    """A level of a book."""
    read = FileStep.decode(need)
    assert isinstance(read, Book)
    return Source(ticket=read[source.level], rewind=read.weights)


def _searched(level: int, steps: Sequence[Step], needs: Needs) -> Source:
    """A level of a search, from its rewind weights, the level above, and the level that an arm looks at."""
    rewound = RewindStep.decode(needs[0])
    seen = LevelStep.decode(needs[2]) if len(needs) > 2 else None
    return Source(
        ticket=level_ticket(RewindStep.read(steps[0]).spec, level, rewound=rewound, pruned_at=pruned_at(needs[1])),
        rewind=rewound.weights,
        zeros=seen.zeros if seen else None,
        positive=seen.positive if seen and seen.record["level"] == level else None,
    )


def _read(asked: FileStep) -> Book | Ticket:
    """What lies in the file."""
    if asked.file is None:
        raise StoreError(f"{asked.kind} {asked.id} is not in the store, and where its file lies is not known here")
    found = load(asked.file)
    if found.id != asked.id:
        raise StoreError(
            f"{asked.file} was changed while it was in use: expected {asked.kind} {asked.id}, got {found.id}"
        )
    return found
