"""Complexity: which targets are simple and which sources are more complex, by stated properties.

The paper's remark (Morcos et al., 2019) is about Fashion-MNIST, on which dense networks are nearly perfect, and about
sources with more images, more classes, or both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oneticket.claims.cells import ClaimCell, ClaimData, Grid
from oneticket.ground.metric import Metric
from oneticket.study.spec import ComplexitySpec, PropertiesSpec

SCORE = 0.85
"""Accuracy from which on a target is simple, unless a study states another."""


@dataclass(frozen=True, kw_only=True)
class Properties:
    """A dataset's dense score and its numbers of classes and of training examples; None where not known."""

    score: float | None
    classes: int | None
    examples: int | None
    metric: Metric

    @property
    def said(self) -> str:
        """The properties in words."""
        score = "dense score unknown" if self.score is None else f"dense {self.metric.score(self.score)}"
        return f"{score}, {_count(self.classes, 'classes')}, {_count(self.examples, 'examples')}"


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """A study's complexity rule, applied to its cells."""

    rule: ComplexitySpec
    study: Grid

    def simple(self, cell: ClaimCell) -> bool:
        """Whether the cell's target is simple."""
        target, metric = self.target(cell), cell.setting.metric
        limit = least(self.rule, metric)
        if target.score is None or limit is None or target.classes is None:
            return False
        return metric.gain(target.score, limit) >= 0 and target.classes <= self.rule.classes

    def more_complex(self, cell: ClaimCell) -> bool:
        """Whether the ticket's source is more complex than its target."""
        source, target = self.source(cell), self.target(cell)
        if None in (source.classes, source.examples, target.classes, target.examples):
            return False
        sizes = [(source.classes, target.classes), (source.examples, target.examples)]
        scores = source.score, target.score
        harder = None in scores or cell.setting.metric.gain(target.score or 0.0, source.score or 0.0) >= 0
        return harder and all((a or 0) >= (b or 0) for a, b in sizes) and any(a != b for a, b in sizes)

    def target(self, cell: ClaimCell) -> Properties:
        """The properties of the cell's target."""
        score = cell.dense.score.mean if cell.dense else None
        return self._known(cell.setting.data, cell.target, score, cell.setting.metric)

    def source(self, cell: ClaimCell) -> Properties:
        """The properties of the ticket's source; its dense score is of the same network under the same optimizer."""
        here = cell.setting
        there = next(
            (
                other.dense
                for (setting, _), other in self.study.cells.items()
                if other.dense
                and setting.data == cell.line.data
                and (setting.model, setting.optimizer, setting.metric) == (here.model, here.optimizer, here.metric)
            ),
            None,
        )
        assert cell.source is not None
        score = there.score.mean if there else None
        return self._known(str(cell.line.data), cell.source, score, cell.setting.metric)

    def basis(self, cells: Iterable[ClaimCell]) -> list[str]:
        """The numbers by which targets count as simple or not, and sources as more complex or not, for reviewers."""
        cells = list(cells)
        targets = {cell.setting.data: (self.simple(cell), self.target(cell)) for cell in cells}
        sources = {
            f"{cell.line.data} beside {cell.setting.data}": (self.more_complex(cell), self.source(cell))
            for cell in cells
            if self.simple(cell)
        }
        found = []
        for what, known in (("Simple", targets), ("More complex", sources)):
            for kind, words in ((True, what), (False, f"Not {what[0].lower()}{what[1:]}")):
                names = [f"{name} ({one.said})" for name, (said, one) in sorted(known.items()) if said == kind]
                found += [f"{words}: {'; '.join(names)}."] if names else []
        return found

    def _known(self, label: str, data: ClaimData, score: float | None, metric: Metric) -> Properties:
        stated = next(filter(None, map(self.rule.sets.get, (label, data.name, data.plain, data.set))), None)
        stated = stated or PropertiesSpec()
        return Properties(
            score=score if stated.score is None else stated.score,
            classes=stated.classes or data.classes,
            examples=stated.examples or data.examples,
            metric=metric,
        )


def least(rule: ComplexitySpec, metric: Metric) -> float | None:
    """The score from which on a target is simple; None where none is stated for the metric."""
    return SCORE if rule.score is None and metric.name == "accuracy" else rule.score


def words(rule: ComplexitySpec, metric: Metric) -> str:
    """The rule in words and numbers, as applied.

    >>> from oneticket.ground.metric import METRICS
    >>> words(ComplexitySpec(), METRICS["accuracy"]).partition(". ")[0]
    'Simple targets: at most 10 classes, and a dense accuracy of at least 85.0 %'
    """
    limit, side = least(rule, metric), "at least" if metric.larger else "at most"
    score = "no score is stated, so no target is simple"
    if limit is not None:
        score = f"a dense {metric.words} of {side} {metric.score(limit)}"
    return (
        f"Simple targets: at most {rule.classes} classes, and {score}. More complex sources: at least as many classes "
        "and examples as the target, more of one of them, and no better a dense score where both are known. Of a set "
        "of which the study states properties, these count; else its rows."
    )


def _count(count: int | None, what: str) -> str:
    return f"unknown {what}" if count is None else f"{count:,.0f} {what}"
