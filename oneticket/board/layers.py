"""Which weights remain in an outcome: the density of each layer at each level, and what two masks share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from oneticket.ground.errors import OneticketError, StoreError
from oneticket.store import entry, names
from oneticket.store.mark import Mark
from oneticket.store.step import Outcome
from oneticket.store.store import Store
from oneticket.study.steps import FILES, LOSSES, ConsensusStep, FileStep, LevelStep, TransferStep, pruned_at
from oneticket.ticket.ticket import Ticket

KEPT = 2**28  # bytes of outcomes in memory
LARGEST = 2**30  # bytes of an outcome that is read for a page


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The masks of a book, a search or a ticket.

    `levels`: from the densest to the sparsest; of a ticket its own alone. `remaining(level)`: bool tensors by layer.
    """

    levels: tuple[int, ...]
    masks: Mapping[int, Mapping[str, Tensor]] | None = None
    pruned_at: Mapping[str, Tensor] | None = None

    def remaining(self, level: int) -> dict[str, Tensor]:
        """Which weights remain at a level, by layer."""
        if self.pruned_at is None:
            return dict((self.masks or {})[level])
        return {name: (at == 0) | (at > level) for name, at in self.pruned_at.items()}

    def counts(self, level: int) -> dict[str, tuple[int, int]]:
        """Layer -> (remaining weights, all weights)."""
        return {name: (int(remaining.sum()), remaining.numel()) for name, remaining in self.remaining(level).items()}


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The overlap of two masks: of a layer's weights, those that remain in the one, in the other, and in both."""

    layer: str
    first: int
    second: int
    both: int
    total: int


def shared(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[Shared]:
    """Layer by layer; StoreError for masks of different networks."""
    shapes = [{name: tuple(mask.shape) for name, mask in masks.items()} for masks in (one, other)]
    if shapes[0] != shapes[1]:
        raise StoreError("these are masks of different networks: their layers have other names or shapes")
    return [
        Shared(
            layer=name,
            first=int(mask.sum()),
            second=int(other[name].sum()),
            both=int((mask & other[name]).sum()),
            total=mask.numel(),
        )
        for name, mask in one.items()
    ]


class Outcomes:
    """Whole outcomes of a store, the last few of them in memory as long as they fit. Damaged ones are left alone."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._kept: OrderedDict[tuple[str, Mark], Outcome] = OrderedDict()

    def get(self, key: str, mark: Mark) -> Outcome:
        """The outcome at an address, fully checked; StoreError if it is damaged, removed or very large."""
        with self._lock:
            found = self._kept.pop((key, mark), None) or self._read(key, mark.size)
            self._kept[key, mark] = found
            while sum(kept.size for _, kept in self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found

    def _read(self, key: str, size: int) -> Outcome:
        if size > LARGEST:
            raise StoreError(f"its {size:,} bytes are more than the board reads")
        name = names.name(key, names.OUTCOME)
        data = self._store.files.read([name]).get(name)
        if data is None:
            raise StoreError("it is not there any more")
        return entry.decode(key, data)


def layers(kind: str, outcome: Outcome) -> Layers | None:
    """The masks in an outcome of that kind; None where there are none. StoreError for one that makes no sense."""
    try:
        if kind == LevelStep.kind:
            deepest = int(outcome.record["level"])
            return Layers(levels=tuple(range(deepest + 1)), pruned_at=pruned_at(outcome))
        if kind not in (*FILES, ConsensusStep.kind):
            return None
        thing = FileStep.decode(outcome)
    except (OneticketError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise StoreError(f"its masks cannot be read: {error}") from error
    if isinstance(thing, Ticket):
        level = thing.lineage.get("level")
        number = level if isinstance(level, int) else 1
        return Layers(levels=(number,), masks={number: {name: thing.mask[name] for name in thing.mask}})
    return Layers(levels=tuple(range(thing.levels + 1)), pruned_at=thing.pruned_at)


def losses(kind: str, outcome: Outcome) -> tuple[tuple[int, float], ...]:
    """The training curve in an outcome, as a few means; nothing for a kind that keeps none."""
    if kind not in (LevelStep.kind, TransferStep.kind) or LOSSES not in outcome.tensors:
        return ()
    found = outcome.tensors[LOSSES].double().flatten()
    each = -(-len(found) // POINTS) or 1
    return tuple((min(at + each, len(found)), float(found[at : at + each].mean())) for at in range(0, len(found), each))


POINTS = 200
"""Of a curve."""
