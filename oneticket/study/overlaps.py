"""Overlaps: which sources of a study share examples with the targets that their tickets are transferred to."""

from __future__ import annotations

from collections.abc import Iterable

from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.study.cells import Cell
from oneticket.study.steps import TransferStep, training_step
from oneticket.task.inputs import Inputs


def overlaps(cells: Iterable[Cell], context: RunContext) -> tuple[str, ...]:
    """A sentence for each source that is not the target and has some of its examples; the most in any replicate."""
    most: dict[tuple[str, str], tuple[int, int]] = {}
    asked: set[tuple[str, str, str | None]] = set()
    searches: dict[str, SearchSpec] = {}
    for cell in cells:
        for origin in cell.origin.each if cell.origin else ():
            pair = str(origin.called.data), str(cell.called.data)
            again = (origin.levels[0].key, *pair[1:], cell.part) if origin.levels else None
            if again is None or again in asked:
                continue
            step = training_step(cell.step)
            if not isinstance(step, TransferStep):
                continue
            asked.add(again)
            if (root := again[0]) not in searches:
                searches[root] = SearchSpec.read(dict(origin.search))
            search = searches[root]
            source = context.selection(search.data, search.task)
            target = context.selection(step.spec.data, step.spec.task, Inputs.read(origin.network))
            if source.digest != target.digest:
                found = source.shared(target)
                before = most.get(pair, found)
                most[pair] = max(before[0], found[0]), max(before[1], found[1])
    return tuple(_said(source, target, *counts) for (source, target), counts in most.items() if any(counts))


def _said(source: str, target: str, train: int, test: int) -> str:
    """In words.

    >>> _said("a", "b", 3, 0)
    "The source a shares examples with the target b: 3 of its training examples are in the target's training set."
    """
    counts = {"training": train, "test": test}
    parts = [
        f"{count:,} of its training examples are in the target's {name} set" for name, count in counts.items() if count
    ]
    return f"The source {source} shares examples with the target {target}: {', and '.join(parts)}."
