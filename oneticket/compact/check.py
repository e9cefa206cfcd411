"""The check of a smaller network: whether it treats its units as the record says of the whole network."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from oneticket.compact.labels import NONE, places
from oneticket.compact.ledger import Ledger, LedgerStep, Noise, pairs
from oneticket.compact.record import Record


class Deviates(Exception):
    """A smaller network treats its units in another way than the whole network."""


@final
class Check(Ledger):
    """Whether a smaller network does the same, step by step, and in which order its units lie.

    `stays`: bool, whether each unit stays. `inputs`, `outputs`, `noises`: per layer, which of its places stay, in the
    order in which they are found. Raises Deviates at the first step that is another.
    """

    def __init__(self, record: Record, stays: Tensor) -> None:
        super().__init__()
        self.record, self.stays = record, stays
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.noises: dict[str, Tensor] = {}
        self._calls: dict[str, int] = {}
        self._joined = self._held = 0

    @property
    def there(self) -> LedgerStep:
        """The step of the whole network that was compared with the last step of the smaller one."""
        return self.record.steps[len(self.steps) - 1]

    def begin(self, step: LedgerStep) -> None:
        _same(len(self.steps) < len(self.record.steps))
        self.steps.append(step)
        self._joined = self._held = 0
        _same((step.what, step.numbers) == (self.there.what, self.there.numbers))

    def shapes(self, shapes: list[tuple[int, ...]]) -> None:
        _same(shapes == self.there.shapes)

    def hold(self, labels: Tensor, why: str, *, reads: bool = False) -> None:  # noqa: ARG002 - the record knows why
        self._held += 1
        _same(self._held <= len(self.there.held))
        _same(torch.equal(labels[labels != NONE], self.there.held[self._held - 1]))

    def join(self, one: Tensor, other: Tensor) -> None:
        self._joined += 1
        _same(self._joined <= len(self.there.joined))
        both = (one != NONE) & (other != NONE)
        before = self.there.joined[self._joined - 1]
        _same(torch.equal(pairs(one[both], other[both]), before[self.stays[before[:, 0]]]))
        alone = torch.where(both, NONE, one + other)
        if alone.any():
            self.hold(alone, "")

    def layer(self, name: str, inputs: Tensor, count: int) -> Tensor:
        _, outputs = self.record.layers[name]
        kept = self.stays[outputs].nonzero().squeeze(1)
        _same(len(kept) == count)
        self._note(self.inputs, name, self._called(name, inputs))
        self._note(self.outputs, name, kept)
        return outputs[kept]

    def carrier(self, name: str, inputs: Tensor, groups: int, count: int, *, fresh: bool) -> Tensor:
        there = self.record.carriers[name]
        found = self._called(name, inputs)
        size, more = len(there.inputs) // there.groups, len(there.outputs) // there.groups
        _same(len(found) == groups * size)
        blocks = found.view(groups, size)
        _same(torch.equal(blocks, blocks[:, :1] // size * size + torch.arange(size, device="cpu")))
        kept = (blocks[:, :1] // size * more + torch.arange(more, device="cpu")).flatten()
        _same(len(kept) == count)
        self._note(self.outputs, name, kept)
        return there.outputs[kept] if fresh else inputs

    def carries(self, name: str, several: bool) -> bool:  # noqa: ARG002 - of several one may be left
        return name in self.record.carriers

    def noise(self, name: str, noise: Noise) -> None:
        there = self.record.noises[name]
        if not self.stays[there.units].all():
            self._note(self.noises, name, self._places(noise.units, there.units))

    def ends(self, labels: Tensor) -> None:
        self.hold(labels, "")

    def _called(self, name: str, inputs: Tensor) -> Tensor:
        """Which of a layer's inputs stay, at this call."""
        count = self._calls.get(name, 0)
        self._calls[name] = count + 1
        _same(count < len(self.record.calls[name]))
        return self._places(inputs, self.record.calls[name][count])

    def _places(self, some: Tensor, whole: Tensor) -> Tensor:
        found = places(some, whole)
        if found is None or len(found) != int(self.stays[whole].sum()):
            raise Deviates
        return found

    def _note(self, where: dict[str, Tensor], name: str, found: Tensor) -> None:
        _same(torch.equal(where.setdefault(name, found), found))


def _same(alike: bool) -> None:
    if not alike:
        raise Deviates
