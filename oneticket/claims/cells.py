"""Cells: one arm in one setting over the levels, with the source of its ticket."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from oneticket.data.spec import halved
from oneticket.ground.errors import SpecError
from oneticket.ground.metric import METRICS, Metric
from oneticket.lottery.arms import words_of
from oneticket.stats.settings import same
from oneticket.stats.summary import Line, Row, Setting, Summary, filled, summary
from oneticket.study.settings import SETTINGS, UPDATE
from oneticket.ticket.names import separate

# Networks that differ in their first layer round to slightly different densities.
SAME_DENSITY = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimData:
    """A dataset as claims use it: its name, and its numbers of classes and of training examples (None: not known)."""

    name: str
    classes: int | None
    examples: int | None

    @property
    def set(self) -> str:
        """The name without the half."""
        return halved(self.plain)[0]

    def apart(self, other: ClaimData) -> bool:
        """Whether the two share no set. A name such as `cifar10+svhn` stands for several sets, and each counts.

        >>> svhn, both = (ClaimData(name=name, classes=10, examples=9) for name in ("svhn:a", "cifar10+svhn:b"))
        >>> svhn.apart(both), svhn.apart(ClaimData(name="digits", classes=10, examples=9))
        (False, True)
        """
        mine, theirs = ({halved(name)[0] for name in separate(one.name)} for one in (self, other))
        return not mine & theirs

    @property
    def several(self) -> bool:
        """Whether it is several sets at once: those of one joint search, or of the searches of a consensus."""
        return len(separate(self.name)) > 1

    @property
    def plain(self) -> str:
        """The name as its user wrote it, where it is one set: without the quotes of a name with a `+` of its own."""
        return self.name if self.several else separate(self.name)[0]

    @property
    def half(self) -> str | None:
        """Which half of the training part it is, or None."""
        return halved(self.plain)[1]


@dataclass(frozen=True, kw_only=True)
class ClaimCell:
    """One arm in one setting, level by level. `source` is None where it has none, or none is known.

    `dense`: its setting's dense network, None where that was not trained.
    """

    setting: Setting
    line: Line
    source: ClaimData | None
    target: ClaimData
    levels: Mapping[int, Summary]
    dense: Summary | None = None

    @property
    def name(self) -> str:
        """Its name in a sentence, without the target."""
        return words_of(self.line.arm).phrase + (f" from {self.line.source}" if self.line.arm == "ticket" else "")

    @property
    def place(self) -> str:
        """Its name in a sentence, with the target."""
        at = f" at equal {self.setting.equal}" if self.setting.equal else ""
        return f"{self.name} on {self.setting.data} under {self.setting.optimizer} ({self.setting.model}){at}"

    @property
    def row(self) -> Row:
        """One of its rows, for the values that all of them share."""
        return self.levels[min(self.levels)].row

    @property
    def same_update(self) -> bool:
        """Whether the ticket is trained by the update rule that found it: optimizer, rates, momentum, weight decay."""
        return same(self.row, UPDATE)

    @property
    def same_training(self) -> bool:
        """Whether the ticket is trained as it was found, except for the length: same optimizer, schedule, batch."""
        return same(self.row)

    @property
    def is_own_ticket(self) -> bool:
        """Whether the ticket was found where it is trained: on the same data with all settings equal."""
        return same(self.row, SETTINGS) and self.source == self.target

    @property
    def dense_trained(self) -> bool:
        """Whether the dense network beat the commonest class in at least half of its trainings, as far as known."""
        stayed = self.dense.stayed if self.dense else None
        return self.dense is None or stayed is None or 2 * stayed <= len(self.dense.values)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All cells of a study."""

    cells: Mapping[tuple[Setting, Line], ClaimCell]

    @property
    def metric(self) -> Metric:
        """The metric of a verdict without cells: the first cell's metric, or accuracy."""
        return next((setting.metric for setting, _ in self.cells), METRICS["accuracy"])

    @property
    def tickets(self) -> list[tuple[ClaimCell, ClaimData]]:
        """The tickets with a known source, each with that source."""
        found = [cell for cell in self.cells.values() if cell.line.arm == "ticket"]
        return [(cell, cell.source) for cell in found if cell.source is not None]

    @property
    def own_tickets(self) -> list[ClaimCell]:
        """Every setting's own ticket, where it has one."""
        found = [self.own(setting) for setting in dict.fromkeys(setting for setting, _ in self.cells)]
        return [cell for cell in found if cell is not None]

    @property
    def same_data(self) -> list[ClaimCell]:
        """The tickets that are trained on the data that they were found on, with any settings."""
        found = [cell for cell in self.cells.values() if cell.line.arm in ("own", "ticket")]
        return [cell for cell in found if cell.source is not None and cell.source == cell.target]

    def own(self, setting: Setting) -> ClaimCell | None:
        """The ticket that was found in that setting itself: an `own` arm, or a ticket whose target is its source."""
        here = [cell for (there, _), cell in self.cells.items() if there == setting]
        own = [cell for cell in here if cell.line.arm == "own"]
        tickets = [cell for cell in here if cell.line.arm == "ticket" and cell.is_own_ticket]
        return next(iter(own + tickets), None)

    def control(self, cell: ClaimCell, arm: str) -> ClaimCell | None:
        """A ticket's control: the arm of its own source, or the arm that all sources share."""
        if arm == "own":
            return self.own(cell.setting)
        if arm == "own-search":  # of the target, whatever the ticket's source is
            here = (other for (there, line), other in self.cells.items() if there == cell.setting and line.arm == arm)
            return next(here, None)
        lines = (Line(arm=arm, data=cell.line.data, optimizer=cell.line.optimizer), Line(arm=arm))
        return next((self.cells[cell.setting, line] for line in lines if (cell.setting, line) in self.cells), None)


def grid(rows: Iterable[Row]) -> Grid:
    """The cells of those rows. Raises SpecError for rows without the columns of a study, or as `summary` does.

    >>> row = {"arm": "ticket", "model": "mlp", "level": 1, "density": 0.8, "replicate": 0, "accuracy": 0.9}
    >>> row |= {"source_data": "digits:a", "source_optimizer": "sgd", "source_name": "digits:a"}
    >>> row |= {"target_data": "digits:b", "target_optimizer": "sgd", "target_name": "digits:b"}
    >>> row |= {"source_classes": 10, "source_images": 720, "target_classes": 10, "target_images": 720}
    >>> [(cell.is_own_ticket, source.set, source.half) for cell, source in grid([row]).tickets]
    [(False, 'digits', 'a')]
    """
    rows = filled(rows)
    lacking = [name for name in COLUMNS if any(name not in row for row in rows)]
    if lacking:
        raise SpecError(f"rows: expected the columns {', '.join(COLUMNS)}, got none of {', '.join(lacking)} in some")
    targets, sources = _named(rows, "target"), _named(rows, "source")
    found: dict[tuple[Setting, Line], dict[int, Summary]] = {}
    for one in summary(rows) if rows else []:
        found.setdefault((one.setting, one.line), {})[one.level] = one
    cells = {
        (setting, line): ClaimCell(
            setting=setting,
            line=line,
            source=None if line.data is None else sources.get(line.data),
            target=targets[setting.data],
            levels=levels,
            dense=found.get((setting, Line(arm="dense")), {}).get(0),
        )
        for (setting, line), levels in found.items()
    }
    return Grid(cells=cells)


def shared_levels(cells: Collection[ClaimCell]) -> frozenset[int]:
    """The pruned levels that all of those cells have, at equal density, with a replicate in common."""
    common = set[int].intersection(*(set(cell.levels) for cell in cells)) - {0}
    return frozenset(level for level in common if _comparable([cell.levels[level] for cell in cells]))


def sparsest(levels: Iterable[frozenset[int]]) -> int | None:
    """The last level that is in every one of those sets; None without sets or without such a level."""
    levels = list(levels)
    return max(frozenset[int].intersection(*levels), default=None) if levels else None


def _comparable(summaries: list[Summary]) -> bool:
    densities = [one.density for one in summaries]
    shared = set[int].intersection(*(set(one.values) for one in summaries))
    return bool(shared) and math.isclose(min(densities), max(densities), rel_tol=SAME_DENSITY)


def _named(rows: Iterable[Row], end: str) -> dict[str, ClaimData]:
    """The dataset behind each label, from the rows that know most of it."""
    found: dict[str, ClaimData] = {}
    for row in rows:
        label, name, examples = (row[f"{end}_{what}"] for what in ("data", "name", "images"))
        if name is not None and (label not in found or found[label].examples is None):
            found[label] = ClaimData(name=name, classes=row[f"{end}_classes"], examples=examples)
    return found


COLUMNS = tuple(f"{end}_{name}" for end in ("source", "target") for name in ("data", "name", "classes", "images"))
