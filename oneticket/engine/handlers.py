"""What each kind of step does: the lottery's functions, with outcomes going in and out; and which steps are akin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from oneticket.ground.errors import StoreError
from oneticket.lottery.controls import Source
from oneticket.lottery.grouping import Placed, placed
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import Rewound, book, level, rewind_weights
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.training_request import Work
from oneticket.lottery.transfer import blank, train_arm
from oneticket.store.step import Outcome, Step
from oneticket.study.plan import spec_of
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.file import load
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

Needs = Sequence[Outcome]


def work(step: Step, needs: Needs, context: RunContext) -> Placed[Outcome]:
    """The step as a task: a pure function of its arguments and of what it needs."""
    return placed(KINDS[step.kind](step, needs, context), context)


def akin(one: Step, other: Step) -> bool:
    """Whether their trainings may be alike, as far as can be told before they are begun."""

    def about(step: Step) -> object:
        return step.kind, _network(step), {name: value for name, value in step.args.items() if name not in OWN}

    return about(one) == about(other)


def bind(step: Step, needs: Needs, records: Sequence[Mapping[str, Any]]) -> Book:
    """A search's book, from any of its level steps, (rewind weights, deepest level), and the records from level 0."""
    spec, replicate = _search(step)
    return book(spec, replicate, rewound=_rewound(needs[0]), pruned_at=_pruned_at(needs[1]), records=records)


def book_of(outcome: Outcome) -> Book:
    """The book that was read from a file into the store."""
    facts = outcome.record
    return Book(
        weights=_under("weights/", outcome),
        pruned_at=_pruned_at(outcome),
        levels=facts["levels"],
        contract=Contract.read(facts["contract"]),
        model=facts["model"],
        lineage=facts["lineage"],
        records=tuple(facts["records"]),
    )


def ticket_of(outcome: Outcome) -> Ticket:
    """The single ticket that was read from a file into the store."""
    facts, weights = outcome.record, _under("weights/", outcome)
    packed = _under("mask/", outcome)
    return Ticket(
        mask=Mask.unpack(packed, {name: tuple(weights[name].shape) for name in packed}),
        weights=weights,
        contract=Contract.read(facts["contract"]),
        model=facts["model"],
        lineage=facts["lineage"],
        evidence=facts["records"][0],
    )


def _rewind(step: Step, needs: Needs, context: RunContext) -> Work[Outcome]:
    done = yield from rewind_weights(*_search(step), context)
    return Outcome(record=done.record, tensors=done.weights)


def _train_level(step: Step, needs: Needs, context: RunContext) -> Work[Outcome]:
    pruned_at = _pruned_at(needs[1]) if len(needs) > 1 else None
    rewound, number = _rewound(needs[0]), step.args["level"]
    done = yield from level(*_search(step), number, rewound=rewound, pruned_at=pruned_at, context=context)
    pruned = {f"pruned_at/{name}": at for name, at in done.pruned_at.items()}
    kept = None if number else done.zeros
    zeros = {} if kept is None else {f"zeros/{name}": bits for name, bits in kept.pack().items()}
    return Outcome(record=done.record, tensors={**pruned, **zeros, "losses": done.losses})


def _transfer(step: Step, needs: Needs, context: RunContext) -> Work[Outcome]:
    spec = TransferSpec.recall(step.args["transfer"])
    arm, replicate = step.args["arm"], step.args["replicate"]
    if not step.needs:
        source = Source(ticket=blank(step.args["network"], step.args["living"]))
    elif step.needs[0].kind == "ticket":
        source = Source(ticket=ticket_of(needs[0]))
    else:
        number = step.args["level"]
        planned = step.needs[0].kind == "rewind"
        read = bind(step.needs[1], needs, [{}] * (number + 1)) if planned else book_of(needs[0])
        zeros = _zeros(needs[2], read[0].mask) if len(needs) > 2 else None
        source = Source(ticket=read[number], rewind=read.weights, zeros=zeros)
    done = yield from train_arm(spec, source=source, arm=arm, replicate=replicate, context=context)
    return Outcome(record=done.record, tensors={"losses": done.losses})


def _read_file(step: Step, needs: Needs, context: RunContext) -> Work[Outcome]:
    yield from ()  # nothing is trained
    kind, known = step.kind, step.args["id"]
    if step.file is None:
        raise StoreError(f"{kind} {known} is not in the store, and where its file lies is not known here")
    read = load(step.file)
    if read.id != known:
        raise StoreError(f"{step.file} was changed while it was in use: expected {kind} {known}, got {read.id}")
    facts = {"contract": read.contract.plain(), "model": dict(read.model), "lineage": dict(read.lineage)}
    weights = {f"weights/{name}": value for name, value in read.weights.items()}
    if isinstance(read, Ticket):
        mask = {f"mask/{name}": bits for name, bits in read.mask.pack().items()}
        return Outcome(record={**facts, "records": [dict(read.evidence)]}, tensors={**weights, **mask})
    pruned = {f"pruned_at/{name}": at for name, at in read.pruned_at.items()}
    records = [dict(record) for record in read.records]
    return Outcome(record={**facts, "levels": read.levels, "records": records}, tensors={**weights, **pruned})


def _search(step: Step) -> tuple[SearchSpec, int]:
    """The search that a step belongs to, and its replicate."""
    spec = spec_of(step)
    assert isinstance(spec, SearchSpec)
    return spec, int(step.args["replicate"])


def _network(step: Step) -> object:
    """The network that a step trains, as far as it or what it needs says."""
    known = step.args.get("network", {}).get("spec") or step.args.get("model")
    return known or (_network(step.needs[0]) if step.needs else None)


def _rewound(outcome: Outcome) -> Rewound:
    return Rewound(weights=outcome.tensors, record=outcome.record)


def _pruned_at(outcome: Outcome) -> dict[str, Tensor]:
    return _under("pruned_at/", outcome)


def _zeros(outcome: Outcome, like: Mask) -> Mask:
    return Mask.unpack(_under("zeros/", outcome), like.shapes)


def _under(prefix: str, outcome: Outcome) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in outcome.tensors.items() if name.startswith(prefix)}


OWN = ("replicate", "seed", "level", "pruning", "arm", "living", "network")
"""Arguments in which the steps of alike trainings differ."""

KINDS: dict[str, Callable[[Step, Needs, RunContext], Work[Outcome]]] = {
    "rewind": _rewind,
    "level": _train_level,
    "transfer": _transfer,
    "book": _read_file,
    "ticket": _read_file,
}
