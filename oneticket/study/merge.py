"""Merged settings: those of a study, of a part and of a set, for sources or for targets.

One rule for all of them: the narrower statement wins. A set is narrower than a part, a part than the study; in one
place settings of only sources or only targets are narrower than common ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from oneticket.ground.errors import DataError
from oneticket.ground.spec import Spec, over
from oneticket.ground.when import When
from oneticket.study.sources import ConsensusSpec
from oneticket.study.spec import PartSpec, SetSpec, StudySpec, TrainedSpec

Role = Literal["source", "target"]
"""What a set is in a part; its own search is a target's."""


def training(role: Role, study: StudySpec, part: PartSpec, used: SetSpec) -> Mapping[str, Any]:
    """The fields of TrainingSpec, each from the narrowest place that states it.

    >>> far = StudySpec(name="far", levels=[1], training={"batch": 8}, source_training={"batch": 9}, parts={
    ...     "p": {"sources": ["digits:a"], "training": {"clip": 1.0}}})
    >>> [training(role, far, far.parts["p"], SetSpec(data="digits:a")) for role in ("source", "target")]
    [{'batch': 9, 'clip': 1.0}, {'batch': 8, 'clip': 1.0}]
    """
    merged: Mapping[str, Any] = {}
    for place in (study, part, used):
        merged = over(over(merged, place.training), _of(role, place))
    return merged


def rewind(role: Role, study: StudySpec, part: PartSpec, used: SetSpec) -> When | None:
    """The rewind point of a search, from the narrowest place that states one; None without any.

    >>> far = StudySpec(name="far", levels=[1], rewind="9it", parts={"p": {"sources": ["digits:a"], "rewind": "5it"}})
    >>> near = SetSpec(data="digits:a", rewind="2it")
    >>> [str(rewind("source", far, far.parts["p"], one)) for one in (near, SetSpec(data="digits:a"))]
    ['2it', '5it']
    """
    for place in (used, part, study):
        for time in (place.source_rewind if role == "source" else None, place.rewind):
            if time is not None:
                return time
    return None


def stated(study: StudySpec, part: PartSpec) -> dict[str, Any]:
    """What a part states of the study's design."""
    names = ("sources", "targets", "models", "optimizers", "source_optimizers", "target_optimizers")
    return {
        **{name: part.plain()[name] for name in names},
        "arms": [*(part.arms or study.arms)],
        "levels": [*(part.levels or study.levels)],
        "replicates": part.replicates or study.replicates,
        "equal": part.equal or study.equal,
        "head_start": part.head_start or study.head_start,
        "seed": study.seed,
        "subsets": study.subsets,
        "settings": _settings(study, part),
    }


def located(line: str, role: Role, tables: Mapping[str, TrainedSpec]) -> str:
    """A mistake in merged settings, named by the first of these places that has the field; "" is the study."""
    where, _, said = line.partition(": ")
    table, *path = where.split(".")[1:] or [""]
    name = path[0] if path else said.partition("'")[2].partition("'")[0]  # unknown field 'name'
    for place, spec in tables.items():
        for called in (f"{role}_{table}", table):
            if name in (getattr(spec, called, None) or {}):
                return f"{'.'.join(filter(None, [place, called, *path]))}: {said}"
    return f"{'.'.join([table, *path])}: {said}"


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Name a place of the study in what is wrong with its data."""
    try:
        yield
    except DataError as error:
        raise type(error)(f"{place}: {error}") from None


def _settings(study: StudySpec, part: PartSpec) -> dict[str, Any]:
    """What stands behind a part's names, and all that its trainings and searches are told beside; no defaults."""
    fields = {*TrainedSpec.model_fields, "pruning", "task", "head"}
    sources = [one for name in part.sources for one in _names(name)]
    sets = [*sources, *(one for name in part.targets or () for one in _names(name))]
    optimizers = (part.optimizers, part.source_optimizers, part.target_optimizers)
    named: list[tuple[Mapping[str, Spec], Iterable[str]]] = [
        (study.sets, sets),
        (study.models, part.models or study.models),
        (study.optimizers, [one for names in optimizers for one in names or ()] or study.optimizers),
    ]
    found = {name: _given(known[name]) for known, names in named for name in names if name in known}
    return {"study": _given(study, fields), "part": _given(part, fields), **found}


def _given(spec: Spec, fields: set[str] | None = None) -> dict[str, Any]:
    return spec.model_dump(mode="json", include=fields, exclude_defaults=True)


def _names(source: str | tuple[str, ...] | ConsensusSpec) -> tuple[str, ...]:
    """The sets of a source or target."""
    several = source.consensus if isinstance(source, ConsensusSpec) else source
    return (several,) if isinstance(several, str) else several


def _of(role: Role, place: TrainedSpec) -> Mapping[str, Any]:
    return place.source_training if role == "source" else place.target_training
