"""The protocol of a study: the different values of every setting, as planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.study.plan import Cell
from oneticket.study.steps import TransferStep, training_step

Protocol = Mapping[str, Mapping[str, list[Any]]]


def protocol(cells: Iterable[Cell]) -> Protocol:
    """Kind -> setting -> its values, in the order in which they come.

    The kinds are `study` (arm, level, replicate), `network` (model: spec, shape, classes), and `source` and `target`
    with the settings of SearchSpec and TransferSpec: `source` (rewind, seed), `source.training` (budget, batch, ...).
    """
    found: dict[str, dict[str, list[Any]]] = {}

    def note(kind: str, name: str, value: object) -> None:
        values = found.setdefault(kind, {}).setdefault(name, [])
        if value not in values:
            values.append(value)

    for cell in cells:
        step = training_step(cell.step)
        for name, value in (("arm", cell.arm), ("level", cell.level), ("replicate", step.replicate)):
            note("study", name, value)
        if cell.origin:
            note("network", "model", dict(cell.origin.network))
        for side, spec in (
            ("source", cell.origin.search if cell.origin else {}),
            ("target", step.spec.plain() if isinstance(step, TransferStep) else {}),
        ):
            for kind, value in spec.items():
                # A dataset or optimizer is one value: its settings mean nothing without each other.
                if isinstance(value, Mapping) and "name" not in value:
                    for name, each in value.items():
                        note(f"{side}.{kind}", name, each)
                else:
                    note(side, kind, value)
    return found
