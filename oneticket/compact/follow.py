"""What is known of the tensors of one forward pass: the units behind them, who made them, and what they depend on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from oneticket.compact.labels import NONE, along, meet
from oneticket.compact.ledger import Ledger
from oneticket.compact.record import Record


@dataclass(frozen=True, kw_only=True)
class TracedCall:
    """One operation: its short name, the operation itself, its arguments by name, and the tensors in and out of it.

    `before`: how tensors lay in memory before the operation, which may change that in place.
    """

    name: str
    function: Any
    named: Mapping[str, Any]
    tensors: Sequence[Tensor]
    outs: Sequence[Tensor]
    before: Sequence[Tensor]

    def was(self, tensor: Tensor) -> Tensor:
        """One of the tensors as it lay before."""
        return next(old for each, old in zip(self.tensors, self.before, strict=True) if each is tensor)


@final
class Following:
    """The labels of tensors, and what the rules report to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._labels = WeakTensorKeyDictionary()
        self._uncertain = WeakTensorKeyDictionary()
        self._makers = WeakTensorKeyDictionary()
        self._reads: Counter[str] = Counter()

    def of(self, tensor: Tensor) -> Tensor | None:
        """A tensor's labels, or None if it has no units."""
        return self._labels.get(tensor)  # type: ignore[no-any-return, no-untyped-call]

    def put(self, tensor: Tensor, labels: Tensor | None) -> None:
        """Give a tensor labels."""
        if labels is not None and bool((labels != NONE).any()):
            self._labels[tensor] = labels

    def hold(self, labels: Tensor | None, why: str, *, reads: bool = False) -> None:
        """These units have to stay; `reads`: since they are read for certain."""
        if labels is not None and bool((labels != NONE).any()):
            self.ledger.hold(labels, why, reads=reads)

    def joined(self, one: Tensor, other: Tensor) -> Tensor:
        """The labels of two tensors elementwise, whose units are one from now on."""
        first, second = meet(one, other)
        self.ledger.join(first.flatten(), second.flatten())
        return torch.where(first == NONE, second, first)

    def columns(self, x: Tensor, dim: int, why: str) -> Tensor:
        """The unit at each place of one dimension of a layer's input; units that lie otherwise stay."""
        labels = self.of(x)
        found = None if labels is None else along(labels, dim, x.shape[dim])
        if found is None:
            self.hold(labels, why)
            return torch.full((x.shape[dim],), NONE, device="cpu")
        return found

    def certain(self, tensor: Tensor) -> bool:
        """Whether a tensor's numbers are the same for every batch, all weights and every draw."""
        return tensor not in self._uncertain

    def uncertain(self, tensors: Iterable[Tensor]) -> None:
        """These tensors depend on the batch, on weights or on random numbers."""
        for tensor in tensors:
            self._uncertain[tensor] = True

    def mixed(self, *several: Tensor | None) -> None:
        """Record that these units are no constants, even where no remaining weight enters them."""
        for labels in several:
            if labels is not None and isinstance(self.ledger, Record):
                self.ledger.mixed.update(set(labels.flatten().tolist()))

    def made(self, tensor: Tensor, layer: str) -> None:
        """A layer's output."""
        self._makers[tensor] = layer

    def read(self, tensors: Iterable[Tensor]) -> None:
        """Something takes these tensors."""
        self._reads.update(self._makers[each] for each in tensors if each in self._makers)

    def followed(self, tensor: Tensor, norm: str) -> None:
        """A BatchNorm takes this tensor."""
        if tensor in self._makers and isinstance(self.ledger, Record):
            self.ledger.followed[self._makers[tensor]] = norm

    def close(self) -> None:
        """Withdraw the records of layers whose output is read by others than the BatchNorm."""
        if isinstance(self.ledger, Record):
            for name in [name for name in self.ledger.followed if self._reads[name] != 1]:
                del self.ledger.followed[name]
        self._reads.clear()
