"""Plans: from specs to the steps that answer them. Steps with equal keys are one step, however often planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneticket.ground.errors import SpecError
from oneticket.lottery.place import Place
from oneticket.lottery.spec import MOST_LEVELS, SearchSpec, TransferSpec
from oneticket.models.factory import source_digest
from oneticket.models.spec import ModelSpec
from oneticket.study.step import Step
from oneticket.ticket.book import Book


def search_steps(spec: SearchSpec, *, levels: int, replicate: int, place: Place) -> tuple[Step, ...]:
    """The steps of a search, from level 0 to `levels`; each level needs the rewind weights and the level above it.

    The digest of the data is part of each address: data that changed under its name means other work.

    >>> steps = search_steps(SearchSpec(data="digits:a", model="lenet-300-100"), levels=2, replicate=0, place=Place())
    >>> [step.args["level"] for step in steps], steps[2].needs[1] is steps[1]
    ([0, 1, 2], True)
    """
    if not 0 <= levels <= MOST_LEVELS:
        raise SpecError(f"levels: expected 0 to {MOST_LEVELS}, got {levels}")
    plain = {**spec.plain(), "replicate": replicate, "data_digest": place.digest(spec.data)}
    plain |= _code(spec.model)
    # Searches that differ in pruning alone share their rewind weights.
    rewind = Step(kind="rewind", args={name: value for name, value in plain.items() if name != "pruning"})
    steps: list[Step] = []
    for number in range(levels + 1):
        steps.append(Step(kind="level", args={**plain, "level": number}, needs=(rewind, *steps[-1:])))
    return tuple(steps)


def book_step(book: Book, file: Path) -> Step:
    """A book that lies in a file, as a step: its address is the book's id, wherever the file lies."""
    return Step(kind="book", args={"id": book.id}, file=file)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a transfer's tickets come from: the levels of a planned search, or a book in a file.

    `network`: the ticket's `model` mapping (spec, shape, classes).
    """

    replicate: int
    network: Mapping[str, Any]
    levels: tuple[Step, ...] = ()
    book: Step | None = None

    def needs(self, level: int) -> tuple[Step, ...]:
        """The steps that level's ticket is made of: the rewind weights, and the level above, which pruned for it."""
        if self.book is not None:
            return (self.book,)
        if not 0 <= level < len(self.levels):
            raise SpecError(f"level: expected 0 to {len(self.levels) - 1}, the levels of the source, got {level}")
        return (self.levels[0].needs[0], self.levels[max(level - 1, 0)])


def transfer_steps(
    spec: TransferSpec,
    *,
    origin: Origin,
    own: Origin | None,
    arms: Iterable[str],
    levels: Iterable[int],
    place: Place,
) -> tuple[Step, ...]:
    """One step per arm and level; the dense arm once, needing nothing, so that all sources share it."""
    steps = []
    levels = tuple(levels)
    channels, height, width = origin.network["shape"]
    digest = place.digest(spec.data, (channels, height, width))
    for arm in arms:
        shared: dict[str, Any] = {
            "transfer": spec.plain(),
            "data_digest": digest,
            "arm": arm,
            "replicate": origin.replicate,
            **_code(ModelSpec.read(origin.network["spec"])),
        }
        if arm == "dense":
            steps.append(Step(kind="transfer", args={**shared, "level": 0, "network": dict(origin.network)}))
            continue
        source = own if arm == "own" else origin
        if source is None:
            raise SpecError("arm own: the target's own search is not planned")
        steps += [Step(kind="transfer", args={**shared, "level": n}, needs=source.needs(n)) for n in levels]
    return tuple(steps)


def _code(model: ModelSpec) -> dict[str, str]:
    """What an own model's address has beside its name: the digest of the file that it is written in."""
    return {"model_digest": source_digest(model.name)} if model.own else {}


def closure(steps: Iterable[Step]) -> tuple[Step, ...]:
    """All steps that these need, themselves included, each once, every need before what needs it."""
    order: dict[str, Step] = {}

    def visit(step: Step) -> None:
        if step.key not in order:
            for need in step.needs:
                visit(need)
            order[step.key] = step

    for step in steps:
        visit(step)
    return tuple(order.values())
