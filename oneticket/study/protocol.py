"""The protocol of a study: the different values of every setting, as planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.lottery.arms import OF_TARGET
from oneticket.study.cells import Cell
from oneticket.study.draws import draws, undrawn
from oneticket.study.steps import TransferStep, training_step

Protocol = Mapping[str, Mapping[str, list[Any]]]


def protocol(cells: Iterable[Cell]) -> Protocol:
    """Kind -> setting -> its values, in the order in which they come.

    The kinds are `study` (arm, level, replicate, head_start, start, draw), `network` (model: spec, shape, classes), and
    `source` and `target` with the settings of SearchSpec and TransferSpec: `source` (rewind, seed), `source.training`
    (budget, batch, ...). The targets' own searches are among the sources, but trained as the targets are.
    `searched`: for each part the sources, with what they are compared at, the steps of their searches in all and in an
    epoch. Which examples a replicate drew is no setting of its data: `draw` has all draws, None for the fixed one.
    `called` (model, data, optimizer) are pairs of what the study calls one and what it is, those of sources first.
    """
    found: dict[str, dict[str, list[Any]]] = {}

    def note(kind: str, name: str, value: object) -> None:
        values = found.setdefault(kind, {}).setdefault(name, [])
        if value not in values:
            values.append(value)

    steps = [(cell, training_step(cell.step)) for cell in cells]
    for cell, step in steps:
        for name, value in (("arm", cell.arm), ("level", cell.level), ("replicate", step.replicate)):
            note("study", name, value)
        if cell.head_start:
            note("study", "head_start", cell.head_start)
            note("study", "start", cell.start)
        if cell.origin and cell.origin.total and cell.arm not in OF_TARGET:
            facts = {"data": cell.origin.called.data, "steps": cell.origin.total, "epoch": cell.origin.epoch}
            note("searched", cell.part, {"equal": cell.equal, **facts})
        if cell.origin:
            note("network", "model", dict(cell.origin.network))
        sources = [("source", each.search) for each in cell.origin.each] if cell.origin else []
        for side, spec in (*sources, ("target", step.spec.plain() if isinstance(step, TransferStep) else {})):
            for draw in draws(spec["data"]) if spec else ():
                note("study", "draw", draw)
            for kind, value in _undrawn(spec).items():
                # A dataset or optimizer is one value: its settings mean nothing without each other.
                if kind == "training" and side == "source" and cell.arm in OF_TARGET:
                    continue  # the target's own search is trained as the target is
                if isinstance(value, Mapping) and "name" not in value:
                    for name, each in value.items():
                        note(f"{side}.{kind}", name, each)
                else:
                    note(side, kind, value)
    for origin in (cell.origin for cell, _ in steps if cell.origin):
        note("called", "model", (origin.called.model, dict(origin.network["spec"])))
        for one, kind in ((origin, "data"), *((each, "optimizer") for each in origin.each)):
            if kind in one.search:
                note("called", kind, (getattr(one.called, kind), _undrawn(one.search)[kind]))
    for cell, step in steps:
        if isinstance(step, TransferStep):
            note("called", "data", (cell.called.data, _undrawn(step.spec.plain())["data"]))
            note("called", "optimizer", (cell.called.optimizer, step.target.optimizer.plain()))
    return found


def _undrawn(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A plain spec without the draws of its data."""
    return {**spec, "data": undrawn(spec["data"])} if spec else spec
