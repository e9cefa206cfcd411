"""What the steps of a plan are called in progress: by the arm that they stand for, and by where they are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneticket.study.cells import Cell
    from oneticket.study.labels import Labels


@dataclass(frozen=True, kw_only=True)
class Called:
    """A step's arm, empty in a search, and its place in the study, such as `a to b`; empty where there is one alone."""

    arm: str = ""
    place: str = ""


def called(cells: Sequence[Cell], *, places: bool) -> dict[str, Called]:
    """The names of the cells' steps, and of their searches' levels, by address; what stands for two, by the first.

    `places`: whether to say where each is trained, if there are several places.
    """
    from oneticket.study.plan import searches

    labels = {id(cell): [*([cell.origin.called] if cell.origin else []), cell.called] for cell in cells}
    models, optimizers = (
        len({getattr(one, name) for each in labels.values() for one in each}) > 1 for name in ("model", "optimizer")
    )

    def place(*each: Labels) -> str:
        said = []
        for one in each:
            more = ", ".join([one.model] * models + [str(one.optimizer)] * optimizers)
            said.append(f"{one.data} ({more})" if more else str(one.data))
        return " to ".join(dict.fromkeys(said))

    found: dict[str, Called] = {}
    for origin in searches(cells):
        found |= {step.key: Called(place=place(origin.called)) for step in (origin.rewind, *origin.levels)}
    for cell in cells:
        found.setdefault(cell.step.key, Called(arm=cell.arm, place=place(*labels[id(cell)])))
    if places and len({one.place for one in found.values()}) > 1:
        return found
    return {key: Called(arm=one.arm) for key, one in found.items()}
