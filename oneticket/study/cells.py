"""Cells: the networks of a comparison, where their tickets come from, and what both are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oneticket.ground.brief import brief
from oneticket.lottery.accounting import Seen
from oneticket.lottery.arms import ARMS
from oneticket.lottery.spec import HeadStart
from oneticket.store.step import Step
from oneticket.study.labels import Labels
from oneticket.study.steps import FileStep, TransferStep, training_step


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where tickets come from: the levels of a planned search, a book or a single ticket in a file, or a consensus.

    `network`: the ticket's `model` mapping (spec, shape, classes). `search`: the plain SearchSpec; empty if unknown.
    `remaining`: level -> how many weights remain; for a single ticket its own level only. `seen`: the data that its
    rewound weights have seen. `called`: its network, data and optimizer. `layers`, `total`, `epoch`: for a planned
    search, the names of its prunable weights from the input on, and its optimizer steps in all and in an epoch. `of`:
    the searches of a consensus, and `agreed` its steps, level by level.
    """

    replicate: int
    network: Mapping[str, Any]
    search: Mapping[str, Any]
    remaining: Mapping[int, int]
    seen: Seen
    called: Labels = field(compare=False)
    layers: tuple[str, ...] = ()
    total: int = 0
    epoch: int = 0
    levels: tuple[Step, ...] = ()
    file: FileStep | None = None
    of: tuple[Origin, ...] = ()
    agreed: tuple[Step, ...] = ()

    __repr__ = brief

    def needs(self, level: int, arm: str) -> tuple[Step, ...]:
        """What that level is made of: the rewind weights and the level above, which pruned for it; or one step.

        Behind those comes the level that the arm itself looks at: the dense one for its zeros, or this for its signs.
        """
        if self.file is not None:
            return (self.file.step,)
        if self.agreed:
            return (self.agreed[level],)
        zeros = self.levels[:1] if arm == "corrected-random" or ARMS.is_own(arm) else ()
        signs = (self.levels[level],) if arm == "trained-signs" else ()
        return (self.rewind, self.levels[max(level - 1, 0)], *zeros, *signs)

    @property
    def each(self) -> tuple[Origin, ...]:
        """The searches that it is of: those of a consensus, or itself."""
        return self.of or (self,)

    @property
    def labels(self) -> dict[str, str | None]:
        """What it is called in every table: model, source_data, source_optimizer."""
        called = self.called
        return {"model": called.model, "source_data": called.data, "source_optimizer": called.optimizer}

    @property
    def rewind(self) -> Step:
        """The step of a planned search that gives its rewind weights."""
        return self.levels[0].needs[0]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One network of a comparison: the step that trains it, and what it stands for. Labels are no part of an address.

    `origin` is None for the arms that keep nothing of a source's ticket but its density: all sources share them.
    `called`: its network, and the data and the optimizer that it is trained with. `head`, `head_start`: the output
    layer that its comparison asks for, and how it counts target steps; None in a search, which is no comparison.
    `equal`: at what its part compares sources; None where as they are written.
    """

    step: Step
    arm: str
    level: int
    replicate: int
    called: Labels = field(compare=False)
    origin: Origin | None = None
    part: str = field(default="", compare=False)
    head: str | None = field(default=None, compare=False)
    head_start: HeadStart | None = field(default=None, compare=False)
    equal: str | None = field(default=None, compare=False)

    __repr__ = brief

    @property
    def start(self) -> int:
        """The step of its schedule at which its training begins."""
        asked = training_step(self.step)
        if isinstance(asked, TransferStep):
            return asked.start
        return self.origin.seen.steps if self.origin else 0

    @property
    def labels(self) -> dict[str, Any]:
        """What it is called in every table: part, equal, model, arm, source, target, level, replicate."""
        unknown = {"source_data": None, "source_optimizer": None}
        return {
            "part": self.part or None,
            "equal": self.equal,
            **(self.origin.labels if self.origin else unknown),
            "model": self.called.model,
            "arm": self.arm,
            "target_data": self.called.data,
            "target_optimizer": self.called.optimizer,
            "level": self.level,
            "replicate": self.replicate,
        }


def distinct_labels(origins: Iterable[Origin]) -> dict[str, dict[str, str | None]]:
    """What planned searches are called in tables of searches, by the address of their first level.

    Several of one replicate that are called the same, as at equal epochs and at equal steps, go by what they differ in.
    """
    groups: dict[tuple[object, ...], dict[str, Origin]] = {}
    for origin in origins:
        same = (*origin.labels.values(), origin.replicate)
        groups.setdefault(same, {})[origin.levels[0].key] = origin
    called = {}
    for group in groups.values():
        settings = {key: _settings(origin.search) for key, origin in group.items()}
        names = [name for name in next(iter(settings.values())) if len({one[name] for one in settings.values()}) > 1]
        for key, origin in group.items():
            said = ", ".join(f"{name} {settings[key][name]}" for name in names)
            labels = origin.labels
            called[key] = {**labels, "source_data": f"{labels['source_data']} ({said})"} if said else labels
    return called


def _settings(search: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a plain search in one row, by their names."""
    tables = (search["training"], search["optimizer"], search["pruning"], {"rewind": search["rewind"]})
    return {name: str(value) for table in tables for name, value in table.items()}
