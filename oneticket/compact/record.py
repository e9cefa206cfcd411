"""The record of a network's forward passes: what it does with its units, step by step."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from oneticket.compact.labels import NONE
from oneticket.compact.ledger import Carrier, Ledger, LedgerHold, LedgerStep, Noise, pairs, some


@final
class Record(Ledger):
    """The structure of the whole network.

    - `layers`: layer that makes units out of units -> the units that enter and leave.
    - `carriers`, `noises`: the other layers that units go through. `calls`: the inputs of a layer, call by call.
    - `followed`: layer that only a BatchNorm reads -> that BatchNorm.
    - `read`: units in the output. `holds`: units kept for another reason; `used`: units that are surely read.
    - `mixed`: units that are no constants even where no remaining weight enters them.
    - `ways`: for each forward pass its mode and the answers it got (`walk.Walk`).
    - `shared`, `bound`: layers that must stay whole, since their tensors are shared, or used outside them.
    """

    def __init__(self, model: nn.Module, bound: frozenset[str]) -> None:
        super().__init__()
        self.model = model
        self.layers: dict[str, tuple[Tensor, Tensor]] = {}
        self.carriers: dict[str, Carrier] = {}
        self.noises: dict[str, Noise] = {}
        self.calls: dict[str, list[Tensor]] = {}
        self.followed: dict[str, str] = {}
        self.read: set[int] = set()
        self.holds: dict[int, LedgerHold] = {}
        self.used: set[int] = set()
        self.mixed: set[int] = set()
        self.shared = self.bound = bound
        self.ways: list[tuple[bool, list[bool]]] = []
        self.at = "the output"
        self._parents: list[int] = [NONE]
        self._called: set[str] = set()

    def begin(self, step: LedgerStep) -> None:
        self.at = step.at
        self.steps.append(step)

    def shapes(self, shapes: list[tuple[int, ...]]) -> None:
        self.steps[-1].shapes += shapes

    def hold(self, labels: Tensor, why: str, *, reads: bool = False) -> None:
        self.steps[-1].held.append(labels[labels != NONE])
        for unit in some(labels):
            self.holds.setdefault(unit, LedgerHold(at=self.at, why=why))
            if reads:
                self.used.add(unit)

    def join(self, one: Tensor, other: Tensor) -> None:
        both = (one != NONE) & (other != NONE)
        found = pairs(one[both], other[both])
        self.steps[-1].joined.append(found)
        for first, second in found.tolist():
            self._parents[self._root(first)] = self._root(second)
        alone = torch.where(both, NONE, one + other)
        if alone.any():
            self.hold(alone, "it lies on numbers that are no unit's")

    def open(self) -> None:
        """Another forward pass begins."""
        self._called = set()

    def layer(self, name: str, inputs: Tensor, count: int) -> Tensor:
        before, outputs = self.layers[name] if name in self.layers else (inputs, self._new(count))
        self.layers[name] = (before, outputs)
        self._call(name, before, inputs)
        return outputs

    def carrier(self, name: str, inputs: Tensor, groups: int, count: int, *, fresh: bool) -> Tensor:
        if name not in self.carriers:
            outputs = self._new(count) if fresh else inputs
            self.carriers[name] = Carrier(inputs=inputs, outputs=outputs, groups=groups, fresh=fresh)
        there = self.carriers[name]
        self._call(name, there.inputs, inputs)
        firsts = inputs.view(groups, -1)[:, :1]
        for each in (inputs.view(groups, -1), there.outputs.view(groups, -1)):
            self.join(firsts.expand_as(each), each)
        return there.outputs if fresh else inputs

    def carries(self, name: str, several: bool) -> bool:  # noqa: ARG002 - a smaller network needs the arguments
        return several

    def noise(self, name: str, noise: Noise) -> None:
        before = self.noises.setdefault(name, noise)
        if (before.dim, before.order) != (noise.dim, noise.order) or not torch.equal(before.units, noise.units):
            for units in (before.units, noise.units):
                self.hold(units, "it draws random numbers in several places")

    def _call(self, name: str, before: Tensor, inputs: Tensor) -> None:
        """A call of a layer, which may have had other units in an earlier call."""
        self.calls.setdefault(name, []).append(inputs)
        if name in self._called:
            self.mixed.update(some(before), some(inputs))
        self._called.add(name)
        self.join(before, inputs)

    def ends(self, labels: Tensor) -> None:
        self.steps[-1].held.append(labels[labels != NONE])
        self.read.update(some(labels))

    def keep(self, labels: Tensor, hold: LedgerHold) -> None:
        """These units have to stay too, as was found after the forward pass."""
        for unit in some(labels):
            self.holds.setdefault(unit, hold)

    def roots(self) -> Tensor:
        """Per unit the one that stands for all that are one with it."""
        return torch.tensor([self._root(unit) for unit in range(len(self._parents))], dtype=torch.long, device="cpu")

    def _new(self, count: int) -> Tensor:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return torch.arange(first, first + count, device="cpu")

    def _root(self, unit: int) -> int:
        while self._parents[unit] != unit:
            self._parents[unit] = self._parents[self._parents[unit]]
            unit = self._parents[unit]
        return unit
