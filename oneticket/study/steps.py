"""The steps of studies, as values with types, in and out of a store (long: five kinds, each with both its codecs).

A store knows kind, arguments, needs and tensors by name, and not what they mean; all of that is written and read here.
Every step that trains has a `spec`, what was asked for, and a `target`, what is trained on. `step` is its form in a
store, whose arguments are its address; `read_step` gives it back. `encode` and `decode` do so with what it leaves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from oneticket.data.spec import DataSpec
from oneticket.ground.brief import brief
from oneticket.ground.canon import Written, joined
from oneticket.ground.spec import Spec
from oneticket.lottery.spec import SearchSpec, TransferSpec, Weights
from oneticket.optim.spec import OptimizerSpec
from oneticket.store.step import Outcome, Step
from oneticket.task.spec import TaskSpec
from oneticket.ticket.contract import Contract

if TYPE_CHECKING:
    from torch import Tensor

    from oneticket.lottery.search import Rewound, TrainedLevel
    from oneticket.lottery.training_request import Trained
    from oneticket.ticket.book import Book
    from oneticket.ticket.ticket import Ticket

S = TypeVar("S", bound=Spec)

Digests = Mapping[str, str]
"""Digests in an address: of the data, and of the code of the user's own model, task and others."""

DIGESTS = (
    *("data_digest", "dataset_digest", "model_digest", "task_digest", "control_digest"),
    *("optimizer_digest", "schedule_digest", "criterion_digest", "scope_digest"),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is trained on, with which optimizer, for which task."""

    data: DataSpec
    optimizer: OptimizerSpec
    task: TaskSpec


@dataclass(frozen=True, kw_only=True)
class RewindStep:
    """The first steps of a search, up to W_k. Searches that differ in pruning only share it: `spec` is any of them."""

    kind: ClassVar[str] = "rewind"

    spec: SearchSpec
    replicate: int
    digests: Digests

    __repr__ = brief

    @property
    def target(self) -> Target:
        """What is trained on."""
        return _target(self.spec)

    @cached_property
    def step(self) -> Step:
        """Its form in a store."""
        args = {**self.spec.identity(), "replicate": self.replicate, **self.digests}
        return Step(kind=self.kind, args={name: value for name, value in args.items() if name not in PRUNING})

    @classmethod
    def read(cls, step: Step) -> RewindStep:
        """From its form in a store."""
        return cls(spec=_search(step), replicate=step.args["replicate"], digests=_digests(step))

    @staticmethod
    def encode(done: Rewound) -> Outcome:
        """What it leaves, for a store."""
        return Outcome(record=done.record, tensors=done.weights)

    @staticmethod
    def decode(outcome: Outcome) -> Rewound:
        """What it left, out of a store."""
        from oneticket.lottery.search import Rewound

        return Rewound(weights=outcome.tensors, record=outcome.record)


@dataclass(frozen=True, kw_only=True)
class LevelStep:
    """One level of a search. `needs`: the rewind weights and, below level 0, the level above."""

    kind: ClassVar[str] = "level"

    spec: SearchSpec
    replicate: int
    digests: Digests
    number: int
    needs: tuple[Step, ...] = ()

    __repr__ = brief

    @property
    def target(self) -> Target:
        """What is trained on."""
        return _target(self.spec)

    @cached_property
    def step(self) -> Step:
        """Its form in a store."""
        args = {**self.spec.identity(), "replicate": self.replicate, **self.digests, "level": self.number}
        return Step(kind=self.kind, args=args, needs=self.needs)

    @classmethod
    def read(cls, step: Step) -> LevelStep:
        """From its form in a store."""
        return cls(
            spec=_search(step),
            replicate=step.args["replicate"],
            digests=_digests(step),
            number=step.args["level"],
            needs=step.needs,
        )

    @staticmethod
    def encode(done: TrainedLevel) -> Outcome:
        """What it leaves, for a store; natural zeros are of the dense level alone."""
        pruned = _over(PRUNED_AT, done.pruned_at)
        signs = {} if done.positive is None else _over(POSITIVE, done.positive.pack())
        zeros = {} if done.record["level"] or done.zeros is None else _over(ZEROS, done.zeros.pack())
        return Outcome(record=done.record, tensors={**pruned, **zeros, **signs, LOSSES: done.losses})

    @staticmethod
    def decode(outcome: Outcome) -> TrainedLevel:
        """What it left, out of a store."""
        from oneticket.lottery.search import TrainedLevel
        from oneticket.ticket.mask import Mask

        pruned_at, zeros, signs = (_under(prefix, outcome) for prefix in (PRUNED_AT, ZEROS, POSITIVE))
        shapes = {name: tuple(at.shape) for name, at in pruned_at.items()}
        return TrainedLevel(
            pruned_at=pruned_at,
            zeros=Mask.unpack(zeros, shapes) if zeros else None,
            positive=Mask.unpack(signs, shapes) if signs else None,
            losses=outcome.tensors[LOSSES],
            record=outcome.record,
        )


@dataclass(frozen=True, kw_only=True)
class Blank:
    """Instead of a ticket: a network (spec, shape, classes), and how many of its weights remain; None for all."""

    network: Mapping[str, Any]
    remaining: int | None


@dataclass(frozen=True, kw_only=True)
class SourceTicket:
    """A ticket by its level.

    `needs`: its file or consensus, or rewind weights, the level above, and the level that an arm looks at.

    A crossed arm also needs, behind those, rewind weights and the level above of the target's own search.
    """

    level: int
    needs: tuple[Step, ...] = ()

    __repr__ = brief

    @property
    def file(self) -> FileStep | None:
        """Where it lies in a file; None if it was searched for."""
        return FileStep.read(self.needs[0]) if self.needs and self.needs[0].kind in FILES else None

    @property
    def agreed(self) -> ConsensusStep | None:
        """The consensus that it is; None if it was searched for or lies in a file."""
        agreed = self.needs and self.needs[0].kind == ConsensusStep.kind
        return ConsensusStep.read(self.needs[0]) if agreed else None

    @property
    def searched(self) -> RewindStep:
        """The rewind step of its search, or of the first that agreed on it."""
        return RewindStep.read(self.agreed.needs[0] if self.agreed else self.needs[0])


@dataclass(frozen=True, kw_only=True)
class TransferStep:
    """One arm of a comparison, trained on the target from step `start` of its schedule."""

    kind: ClassVar[str] = "transfer"

    spec: TransferSpec
    arm: str
    replicate: int
    digests: Digests
    source: Blank | SourceTicket
    start: int = 0

    __repr__ = brief

    @property
    def target(self) -> Target:
        """What is trained on."""
        return _target(self.spec)

    @cached_property
    def step(self) -> Step:
        """Its form in a store."""
        args = {"transfer": self.spec.identity(), "arm": self.arm, "replicate": self.replicate, **self.digests}
        args |= {"start": self.start} if self.start else {}
        if isinstance(self.source, Blank):
            blank = {"network": self.source.network, "living": self.source.remaining}
            return Step(kind=self.kind, args={**args, **blank})
        return Step(kind=self.kind, args={**args, "level": self.source.level}, needs=self.source.needs)

    @classmethod
    def read(cls, step: Step) -> TransferStep:
        """From its form in a store."""
        args = step.args
        return cls(
            spec=recalled(TransferSpec, args["transfer"]),
            arm=args["arm"],
            replicate=args["replicate"],
            digests=_digests(step),
            source=Blank(network=args["network"], remaining=args["living"])
            if "network" in args
            else SourceTicket(level=args["level"], needs=step.needs),
            start=args.get("start", 0),
        )

    @staticmethod
    def encode(done: Trained) -> Outcome:
        """What it leaves, for a store."""
        return Outcome(record=done.record, tensors={LOSSES: done.losses})

    @staticmethod
    def decode(outcome: Outcome) -> Trained:
        """What it left, out of a store."""
        from oneticket.lottery.training_request import Trained

        return Trained(losses=outcome.tensors[LOSSES], record=outcome.record, zeros=None)


@dataclass(frozen=True, kw_only=True)
class FileStep:
    """Reading a book or a ticket from its file; its address is the id, wherever the file lies."""

    kind: Literal["book", "ticket"]
    id: str
    file: Path | None = None

    __repr__ = brief

    @cached_property
    def step(self) -> Step:
        """Its form in a store."""
        return Step(kind=self.kind, args={"id": self.id}, file=self.file)

    @classmethod
    def read(cls, step: Step) -> FileStep:
        """From its form in a store."""
        return cls(kind="ticket" if step.kind == "ticket" else "book", id=step.args["id"], file=step.file)

    @staticmethod
    def encode(read: Book | Ticket) -> Outcome:
        """What was read, for a store."""
        from oneticket.ticket.ticket import Ticket

        facts = {"contract": read.contract.plain(), "model": dict(read.model), "lineage": dict(read.lineage)}
        weights = _over(WEIGHTS, read.weights)
        if isinstance(read, Ticket):
            tensors = {**weights, **_over(MASK, read.mask.pack())}
            return Outcome(record={**facts, "records": [dict(read.evidence)]}, tensors=tensors)
        records = [dict(record) for record in read.records]
        tensors = {**weights, **_over(PRUNED_AT, read.pruned_at)}
        return Outcome(record={**facts, "levels": read.levels, "records": records}, tensors=tensors)

    @staticmethod
    def decode(outcome: Outcome) -> Book | Ticket:
        """What was read, out of a store."""
        from oneticket.ticket.book import Book
        from oneticket.ticket.mask import Mask
        from oneticket.ticket.ticket import Ticket

        facts, weights = outcome.record, _under(WEIGHTS, outcome)
        common = {"contract": Contract.read(facts["contract"]), "model": facts["model"], "lineage": facts["lineage"]}
        if "levels" in facts:
            pruned_at, records = _under(PRUNED_AT, outcome), tuple(facts["records"])
            return Book(weights=weights, pruned_at=pruned_at, levels=facts["levels"], records=records, **common)
        packed = _under(MASK, outcome)
        mask = Mask.unpack(packed, {name: tuple(weights[name].shape) for name in packed})
        return Ticket(mask=mask, weights=weights, evidence=facts["records"][0], **common)


@dataclass(frozen=True, kw_only=True)
class ConsensusStep:
    """What several searches agree on, down to a level: a book. `needs`: of each its rewind weights and the level above.

    `weights`: what it starts from, "initial" or "mean".
    """

    kind: ClassVar[str] = "consensus"

    weights: Weights
    level: int
    needs: tuple[Step, ...]

    __repr__ = brief

    @cached_property
    def step(self) -> Step:
        """Its form in a store."""
        return Step(kind=self.kind, args={"weights": self.weights, "level": self.level}, needs=self.needs)

    @classmethod
    def read(cls, step: Step) -> ConsensusStep:
        """From its form in a store."""
        return cls(weights=step.args["weights"], level=step.args["level"], needs=step.needs)


TrainingStep = RewindStep | LevelStep | TransferStep
StudyStep = TrainingStep | ConsensusStep | FileStep


def pruned_at(outcome: Outcome) -> dict[str, Tensor]:
    """The masks of a level or a consensus: weight -> the first level without it, 0 while it remains (uint8)."""
    return _under(PRUNED_AT, outcome)


def read_step(step: Step) -> StudyStep:
    """What a step out of a store means.

    Raises SpecError for a field that this version does not have, KeyError for arguments that are no such step's.

    >>> made = LevelStep(spec=SearchSpec(data="digits:a", model="mlp"), replicate=0, digests={}, number=3)
    >>> read_step(made.step) == made
    True
    """
    found: StudyStep = TYPES[step.kind].read(step)
    return found


def training_step(step: Step) -> TrainingStep:
    """The same of a step that trains; TypeError for one that reads a file or makes a consensus."""
    found = read_step(step)
    if isinstance(found, FileStep | ConsensusStep):
        raise TypeError(f"expected a step that trains, got a {found.kind}")
    return found


def trains(step: Step) -> bool:
    """Whether it trains a network; the others read a file or make a consensus."""
    return step.kind in (RewindStep.kind, LevelStep.kind, TransferStep.kind)


def measured(step: Step) -> bool:
    """Whether it leaves a network that was trained to its end and measured."""
    return step.kind in (LevelStep.kind, TransferStep.kind)


def akin(one: Step, other: Step) -> bool:
    """Whether their trainings may be done as one program, as far as can be known before."""

    def about(step: Step) -> object:
        return step.kind, _network(step), {name: value for name, value in step.args.items() if name not in OWN}

    return about(one) == about(other)


def _network(step: Step) -> object:
    """The network that a step trains, as far as it or what it needs says."""
    known = step.args.get("network", {}).get("spec") or step.args.get("model")
    return known or (_network(step.needs[0]) if step.needs else None)


def _target(spec: SearchSpec | TransferSpec) -> Target:
    return Target(data=spec.data, optimizer=spec.optimizer, task=spec.task)


def _search(step: Step) -> SearchSpec:
    """An argument that is neither the spec's nor known beside it asks for other work: SpecError."""
    return recalled(SearchSpec, {name: value for name, value in step.args.items() if name not in BESIDE})


def recalled(kind: type[S], given: Mapping[str, Any]) -> S:
    """The spec that was written down: of thousands of steps few are different, and each is read once."""
    found: S = _recall(kind, given.text if isinstance(given, Written) else joined(given))
    return found


@lru_cache(maxsize=1024)
def _recall(kind: type[S], text: str) -> S:
    return kind.recall(json.loads(text))


def _digests(step: Step) -> Digests:
    return {name: step.args[name] for name in DIGESTS if name in step.args}


def _over(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _under(prefix: str, outcome: Outcome) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in outcome.tensors.items() if name.startswith(prefix)}


WEIGHTS, MASK, PRUNED_AT, ZEROS, POSITIVE, LOSSES = "weights/", "mask/", "pruned_at/", "zeros/", "positive/", "losses"
"""How an outcome's tensors are called: what begins so, and the losses of its steps."""

BESIDE = ("replicate", "level", *DIGESTS)
"""Arguments of a search's step that are no fields of its spec."""

PRUNING = ("pruning", "criterion_digest", "scope_digest")
"""Arguments of a search that do not change its rewind weights."""

OWN = (*PRUNING, "replicate", "seed", "level", "arm", "control_digest", "living", "network")
"""Arguments in which steps with similar trainings may differ."""

FILES = ("book", "ticket")

TYPES: dict[str, Any] = {
    "rewind": RewindStep,
    "level": LevelStep,
    "transfer": TransferStep,
    "consensus": ConsensusStep,
    **dict.fromkeys(FILES, FileStep),
}
