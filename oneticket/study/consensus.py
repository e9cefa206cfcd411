"""A consensus as a source: one step for each level, over the steps of the searches that vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from oneticket.data.spec import DataSpec
from oneticket.ground.errors import SpecError
from oneticket.lottery.accounting import Seen
from oneticket.lottery.spec import SearchSpec, Weights
from oneticket.store.step import Step
from oneticket.study.cells import Origin
from oneticket.study.steps import ConsensusStep, LevelStep


def consensus_origin(origins: Sequence[Origin], *, weights: Weights, every_level: bool, called: str) -> Origin:
    """A planned consensus of planned searches, which differ in their data.

    `every_level`: the searches go on from what they agreed on, level by level. `called`: its name in tables.

    Raises SpecError for searches that cannot be voted on.
    """
    first = origins[0]
    if len({each.rewind.key for each in origins}) < len(origins):
        raise SpecError(f"{called}: one search is given twice, so it would vote twice; name each set once")
    for each in origins[1:]:
        if (each.layers, each.remaining) != (first.layers, first.remaining):
            raise SpecError(
                f"{called}: the searches differ in their networks, or in how many weights remain at a level"
            )
    specs = [SearchSpec.read(dict(each.search)) for each in origins]
    if any(spec.pruning.granularity != "weight" for spec in specs):
        raise SpecError(f"{called}: a consensus is of single weights; leave granularity out")
    if every_level and any(spec.pruning.shots == "one-shot" for spec in specs):
        raise SpecError(f"{called}: votes at every level need searches that prune at every level; leave shots out")
    rows = [list(each.levels) for each in origins]
    agreed: list[Step] = []
    for number in range(len(first.levels)):
        above = [row[max(number - 1, 0)] for row in rows]
        needs = (step for each, level in zip(origins, above, strict=True) for step in (each.rewind, level))
        agreed.append(ConsensusStep(weights=weights, level=number, needs=tuple(needs)).step)
        if every_level and number:
            for row, each in zip(rows, origins, strict=True):
                row[number] = replace(LevelStep.read(row[number]), needs=(each.rewind, agreed[number])).step
    members = dict.fromkeys(member for spec in specs for member in spec.data.members)
    of = [
        replace(each, levels=tuple(row), called=replace(each.called, data=f"{each.called.data} in {called}"))
        for each, row in zip(origins, rows, strict=True)
    ]
    return replace(
        first,
        search={**_common([each.search for each in origins]), "data": DataSpec.read([*members]).plain()},
        seen=Seen(steps=0 if weights == "initial" else first.seen.steps, digest=None),
        called=replace(first.called, data=called),
        total=sum(each.total for each in origins),
        epoch=sum(each.epoch for each in origins),
        levels=(),
        of=tuple(of if every_level else origins),
        agreed=tuple(agreed),
    )


def _common(values: Sequence[Any]) -> Any:
    """What several plain values have in common; None where they differ."""
    if all(isinstance(value, Mapping) for value in values):
        return {name: _common([value.get(name) for value in values]) for name in values[0]}
    return values[0] if all(value == values[0] for value in values) else None
