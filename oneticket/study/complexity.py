"""Stated properties of sets: refused where the study has no such set, or no dense network can have such a score."""

from __future__ import annotations

from collections.abc import Iterator

from oneticket.data.spec import halved
from oneticket.ground.errors import SpecError, unknown
from oneticket.study.sources import ConsensusSpec
from oneticket.study.spec import StudySpec
from oneticket.task.spec import TASKS
from oneticket.task.task import task_of
from oneticket.ticket.names import joined


def check_complexity(study: StudySpec) -> None:
    """Raise SpecError for what `[complexity]` states of no set of the study, or beyond the bounds of its metrics.

    >>> check_complexity(StudySpec(name="mine", levels=[1], complexity={"sets": {"digit": {"score": 0.98}}}, parts={
    ...     "p": {"sources": ["digits:a"]}}))
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: complexity.sets.digit: unknown set 'digit'; did you mean 'digits'? Known: \
digits, digits:a
    """
    rule, known = study.complexity, sorted(set(_names(study)))
    for name in rule.sets:
        if name not in known:
            raise SpecError(f"complexity.sets.{name}: {unknown('set', name, known)}")
    tasks = {study.task, *(part.task for part in study.parts.values() if part.task)}
    if any(TASKS.is_own(task.name) for task in tasks):
        return
    metrics = [task_of(task).metric for task in tasks]
    scores = {"": rule.score, **{f"sets.{name}.": each.score for name, each in rule.sets.items()}}
    for place, score in scores.items():
        if score is not None and all(metric.clipped(score) != score for metric in metrics):
            ends = {one.name: f"{one.low} to {one.high}" if one.high else f"{one.low} or more" for one in metrics}
            expected = " or ".join(f"{name} of {end}" for name, end in ends.items())
            raise SpecError(f"complexity.{place}score: expected {expected}, got {score:g}")


def _names(study: StudySpec) -> Iterator[str]:
    """What the sets of a study are called in it and everywhere, each with its half and without."""
    yield from study.sets
    found = [member.name for one in study.sets.values() for member in one.data.members]
    for part in study.parts.values():
        for source in (*part.sources, *(part.targets or ())):
            several = source.consensus if isinstance(source, ConsensusSpec) else (source,)
            for one in several:
                names = (one,) if isinstance(one, str) else one
                found += [name for name in names if name not in study.sets]
                yield joined(names)
    for name in found:
        yield from (name, halved(name)[0])
