"""Findings: all that a report is made of, read out of the store once. The same store gives the same findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oneticket.ground.brief import brief
from oneticket.store.store import Store
from oneticket.study.cells import Cell
from oneticket.study.design import Kept, kept_designs, trained
from oneticket.study.grid import Plan
from oneticket.study.ledger import ledger
from oneticket.study.masks import layers, masks, not_compared, overlaps
from oneticket.study.plan import searches
from oneticket.study.protocol import Protocol, protocol
from oneticket.study.rows import Row, rows
from oneticket.study.steps import TransferStep

POINTS = 60  # of a training curve: each is the mean loss of as many steps


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of a study so far. All parts are lists of flat mappings, ready for tables and charts.

    - `plan`: its name, title, note, claims, densities and margin are the report's.
    - `rows`: the trained networks of the cells (columns: `study.rows.COLUMNS`).
    - `missing`: the cells that are not trained: part, model, arm, level, replicate, names of source and target.
    - `layers`: per search, replicate, level and layer: model, source_data, source_optimizer, replicate, level, density
      (of the whole mask), layer, position (from the input, 0 first), living, total.
    - `overlaps`: per pair of searches of one model and replicate, and per level: model, a, b (such as `cifar10 (sgd)`),
        replicate, level, density, overlap (share of a's remaining weights that remain in b too), chance (the same share
        of a random mask of b's density).
    - `not_compared`: a sentence for each pair of them that begins from other weights, and so is not in `overlaps`.
    - `curves`: training loss: part, model, arm, source_data, source_optimizer, target_data, target_optimizer, level,
      density, replicate, step (of the schedule), loss (mean over the steps since the last point).
    - `ledger`: per search: model, source_data, source_optimizer, replicates, levels, trainings, steps, examples, and
      seconds (what finding cost), transferred (trainings of its tickets), searches_saved (places that took
      its ticket and were never searched, by replicate), seconds_saved (what those searches would have cost).
    - `protocol`: the settings as planned, as `study.protocol.protocol` has them.
    - `designs`: those that the study was run with, as the store has them, the first one first; `trained`: how many of
      its networks are there, with those that it asked for when it was last run.
    """

    plan: Plan
    rows: Sequence[Row]
    missing: Sequence[Row]
    layers: Sequence[Row]
    overlaps: Sequence[Row]
    curves: Sequence[Row]
    ledger: Sequence[Row]
    protocol: Protocol
    designs: Sequence[Kept] = ()
    trained: int = 0
    not_compared: Sequence[str] = ()

    __repr__ = brief


def findings(plan: Plan, store: Store) -> Findings:
    """Read what is there of a plan; what is not, or is damaged and so set aside, is listed as missing."""
    cells = plan.cells
    found = masks(searches(cells), store)
    curves = [row for cell in cells for row in _curve(cell, store)]
    there = store.there(cell.step.key for cell in cells)  # looked at last: what is damaged was set aside by now
    return Findings(
        plan=plan,
        rows=rows(cells, store),
        missing=[cell.labels for cell in cells if cell.step.key not in there],
        layers=layers(found),
        overlaps=overlaps(found, {cell.level for cell in cells}),
        curves=curves,
        ledger=ledger(searches(cells), cells, store),
        protocol=protocol(cells),
        designs=kept_designs(plan, store),
        trained=trained(plan, store),
        not_compared=not_compared(found),
    )


def _curve(cell: Cell, store: Store) -> list[Row]:
    found = store.find(cell.step)
    if found is None:
        return []
    losses = TransferStep.decode(found).losses.double()
    every = -(-len(losses) // POINTS)
    about = {**cell.labels, "density": found.record["density"]}
    spans = [(start, min(start + every, len(losses))) for start in range(0, len(losses), every)]
    return [{**about, "step": cell.start + end, "loss": float(losses[start:end].mean())} for start, end in spans]
