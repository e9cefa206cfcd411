"""What each kind of step does: the lottery's functions, with outcomes going in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from oneticket.ground.errors import StoreError
from oneticket.lottery.controls import Source
from oneticket.lottery.place import Place
from oneticket.lottery.search import Rewound, book, level, rewind_weights
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import blank, transfer
from oneticket.study.step import Outcome, Step
from oneticket.ticket.book import Book

Needs = Sequence[Outcome]


def work(step: Step, needs: Needs, place: Place) -> Outcome:
    """Do the step: a pure function of its arguments and of what it needs."""
    return KINDS[step.kind](step, needs, place)


def bind(step: Step, needs: Needs, records: Sequence[Mapping[str, Any]]) -> Book:
    """A search's book, from any of its level steps, (rewind weights, deepest level), and the records from level 0."""
    spec, replicate = _search_spec(step.args)
    return book(spec, replicate, rewound=_rewound(needs[0]), pruned_at=_pruned_at(needs[1]), records=records)


def open_book(step: Step) -> Book:
    """The book that an input step names; StoreError if the file holds another one by now."""
    assert step.file is not None
    read = Book.load(step.file)
    if read.id != step.args["id"]:
        raise StoreError(f"{step.file} was changed while it was in use: expected book {step.args['id']}, got {read.id}")
    return read


def _rewind(step: Step, needs: Needs, place: Place) -> Outcome:
    done = rewind_weights(*_search_spec(step.args), place)
    return Outcome(record=done.record, tensors=done.weights)


def _train_level(step: Step, needs: Needs, place: Place) -> Outcome:
    pruned_at = _pruned_at(needs[1]) if len(needs) > 1 else None
    rewound, number = _rewound(needs[0]), step.args["level"]
    done = level(*_search_spec(step.args), number, rewound=rewound, pruned_at=pruned_at, place=place)
    pruned = {f"pruned_at/{name}": at for name, at in done.pruned_at.items()}
    return Outcome(record=done.record, tensors={**pruned, "losses": done.losses})


def _transfer(step: Step, needs: Needs, place: Place) -> Outcome:
    spec = TransferSpec.read(step.args["transfer"])
    arm, replicate, number = step.args["arm"], step.args["replicate"], step.args["level"]
    if not step.needs:
        source = Source(ticket=blank(step.args["network"]))
    else:
        read = open_book(step.needs[0]) if step.needs[0].file else bind(step.needs[1], needs, [{}] * (number + 1))
        source = Source(ticket=read[number], rewind=read.weights)
    done = transfer(spec, source=source, arm=arm, replicate=replicate, place=place)
    return Outcome(record={"level": number, **done.record}, tensors={"losses": done.losses})


def _search_spec(args: Mapping[str, Any]) -> tuple[SearchSpec, int]:
    """The spec and the replicate among a step's arguments; what else is there is for the address alone."""
    fields = {name: value for name, value in args.items() if name in SearchSpec.model_fields}
    return SearchSpec.read(fields), int(args["replicate"])


def _rewound(outcome: Outcome) -> Rewound:
    return Rewound(weights=outcome.tensors, record=outcome.record)


def _pruned_at(outcome: Outcome) -> dict[str, Tensor]:
    prefix = "pruned_at/"
    return {name.removeprefix(prefix): at for name, at in outcome.tensors.items() if name.startswith(prefix)}


KINDS: dict[str, Callable[[Step, Needs, Place], Outcome]] = {
    "rewind": _rewind,
    "level": _train_level,
    "transfer": _transfer,
}
