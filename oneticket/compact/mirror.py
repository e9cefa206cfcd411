"""Mirrors: a model's own tensors show what the smaller network has, and pass on to it what is written into them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from oneticket.compact import cut
from oneticket.compact.compact import Compact
from oneticket.compact.orphans import NAME
from oneticket.compact.shown import BARE, mirror, release
from oneticket.ground.errors import GuardError


class Mirrors:
    """The model's parameters and buffers, for as long as a smaller network trains in its place.

    They stay the objects that they are. Whoever reads one gets what the network has: values, and gradients by `.grad`,
    zero where weights are pruned. What is computed of a parameter passes its gradient on to the network. What is
    written into a tensor or its gradient, the network takes. Values are copied only when they are asked for.

    Views and `detach()` share memory with the tensor and are current until the next step. What is written into them is
    found by `settle`. What NumPy writes into their memory is not.
    """

    def __init__(self, small: Compact) -> None:
        self.small = small
        self.steps = self.passes = 0
        mine = cut.tensors(small.network)
        self.orphans = mine.get(NAME)
        rest = cut.left_out(small.model, small.whole, small.cuts)
        begins, places = 0, dict[str, slice]()
        for name, remains in rest.items():
            places[name] = slice(begins, begins := begins + int(remains.count_nonzero()))
        self.pairs = [
            Pair(self, name, whole, mine[name], rest.get(name), places.get(name))
            for name, whole in cut.tensors(small.model).items()
        ]
        for pair in self.pairs:
            mirror(pair.whole, pair)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The model's, as they were at the start, by name."""
        return {pair.name: pair.whole for pair in self.pairs if isinstance(pair.whole, nn.Parameter)}

    def tick(self, *, step: bool) -> None:
        """The network's buffers have changed, after a step its parameters too."""
        self.passes += 1
        self.steps += step

    def settle(self) -> None:
        """Pass on what was written into views of the model's tensors and of their gradients."""
        with BARE():
            for pair in self.pairs:
                pair.settle()
                if pair.gradient is not None:
                    pair.gradient.settle()

    def show(self) -> None:
        """Let every tensor of the model hold what the network has."""
        with BARE():
            for pair in self.pairs:
                pair.refresh()

    def take(self) -> None:
        """Take into the network what the tensors hold that are current."""
        with BARE():
            for pair in self.pairs:
                if not pair.stale:
                    pair.pass_on()

    def release(self) -> None:
        """Let the tensors be ordinary ones again."""
        for pair in self.pairs:
            if pair.gradient is not None:
                release(pair.gradient.whole)
            release(pair.whole)

    def drop(self) -> None:
        """The orphans have no gradient where no parameter has one that lost units."""
        if self.orphans is not None and all(pair.part.grad is None for pair in self.pairs if pair.lost):
            self.orphans.grad = None


class Places(NamedTuple):
    """Flat positions in a tensor of the model: of the network's numbers, and of the orphans'."""

    kept: Tensor
    lost: Tensor


class _Link(ABC):
    """A tensor of the model's size, and what it mirrors: the network's, and a part of the orphans."""

    trains = False

    def __init__(self, mirrors: Mirrors, name: str, whole: Tensor, part: Tensor) -> None:
        self.mirrors, self.name, self.whole, self.part = mirrors, name, whole, part
        self._rest_is_zero = False
        self.mark()

    @property
    def moved(self) -> bool:
        """Whether torch counts a change of the network's since both were equal."""
        return self._clock != self._time() or self._seen != self.part._version

    stale = moved

    @property
    def written(self) -> bool:
        """Whether torch counts a write into the tensor since both were equal."""
        return self.whole._version != self._version

    def settle(self) -> None:
        """Pass on what was written past `shown.run`."""
        if not self.written:
            return
        if self.moved:
            self._read()
            raise GuardError(
                f"{self.name} was written through a tensor that was taken from it before the last step, and so lacked "
                "what was trained since; it is as before the write: take the tensor anew from the model"
            )
        self.pass_on()

    def refresh(self) -> None:
        """Show what the network has."""
        self.settle()
        if self.stale:
            self._read()

    def pass_on(self) -> None:
        """Let the network have what stands here."""
        with torch.inference_mode(False), torch.no_grad():
            whole, at = self.whole.detach(), self.places()
            if at is None:
                self.part.copy_(whole)
            else:
                flat = whole.reshape(-1)
                self.part.copy_(flat.index_select(0, at.kept).view(self.part.shape))
                if (lost := self.lost_part()) is not None:
                    lost.copy_(flat.index_select(0, at.lost))
        self._rest_is_zero = False
        self.mark()

    def _read(self) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self.read()
        self.mark()

    def mark(self) -> None:
        """Both are equal now."""
        self._version, self._seen, self._clock = self.whole._version, self.part._version, self._time()

    def expanded(self, part: Tensor, lost: Tensor | None) -> Tensor:
        """A tensor of the network's in the size of the model's; gradients go through it."""
        if (at := self.places()) is None:
            return part
        return self._put(part.new_zeros(self.whole.numel()), part, lost, at).view(self.whole.shape)

    def _put(self, flat: Tensor, part: Tensor, lost: Tensor | None, at: Places) -> Tensor:
        flat = flat.index_copy_(0, at.kept, part.reshape(-1))
        return flat if lost is None else flat.index_copy_(0, at.lost, lost)

    @abstractmethod
    def places(self) -> Places | None:
        """Where the network's numbers lie in the model's tensor; None if both are alike."""

    def traced(self) -> Tensor:
        """What is computed of it passes its gradient on to the network."""
        return self.whole

    def grad(self) -> Tensor | None:
        """The gradient: only parameters have one."""
        return None

    def set_grad(self, value: Tensor | None) -> None:
        """Replace the gradient: only parameters have one."""
        raise TypeError(f"{self.name}: only parameters have a gradient, got {type(value).__name__}")

    @abstractmethod
    def lost_part(self) -> Tensor | None:
        """Its part of the orphans, or of their gradient."""

    def read(self) -> None:
        """Copy what the network has."""
        part, lost, at = self.part.detach(), self.lost_part(), self.places()
        if at is not None and self._rest_is_zero and self.whole.is_contiguous():
            self._put(self.whole.detach().view(-1), part, lost, at)
        else:
            self.whole.copy_(self.expanded(part, lost))
            self._rest_is_zero = True

    def _time(self) -> int:
        """Moves on when the network may have changed `part` past torch's count."""
        return 0


class Pair(_Link):
    """A parameter or buffer of the model, and the network's.

    `lost`: where its own entries lie among the orphans; `gradient`: what mirrors the network's gradient, if asked for.
    """

    def __init__(
        self, mirrors: Mirrors, name: str, whole: Tensor, part: Tensor, rest: Tensor | None, lost: slice | None
    ) -> None:
        self.lost, self.rest, self.trains = lost, rest, isinstance(whole, nn.Parameter)
        super().__init__(mirrors, name, whole, part)
        self.gradient: Gradient | None = None
        sparse = mirrors.small.forms.get(name) == "sparse"
        self.alike = name not in mirrors.small.cuts and not sparse
        self._places: Places | None = None

    def lost_part(self) -> Tensor | None:
        return None if self.lost is None or self.mirrors.orphans is None else self.mirrors.orphans.detach()[self.lost]

    def read(self) -> None:
        if self.trains:
            super().read()
        else:  # of removed units it stays as it was
            self.whole[self.mirrors.small.cuts.get(self.name, ...)] = self.part

    def places(self) -> Places | None:
        if self._places is None and not self.alike:
            with torch.inference_mode(False), torch.no_grad():
                self._places = self._found()
        return self._places

    def _found(self) -> Places:
        small, device = self.mirrors.small, self.whole.device
        if self.name not in small.cuts:
            kept = small.whole[self.name].reshape(-1).nonzero().squeeze(1).to(device)
            return Places(kept, kept[:0])
        numbers = torch.arange(self.whole.numel(), device=device).view(self.whole.shape)
        kept = small.smaller(self.name, numbers).reshape(-1)
        return Places(kept, kept[:0] if self.rest is None else numbers[self.rest.to(device)])

    def traced(self) -> Tensor:
        """What is computed of it passes its gradient on to the network."""
        if self.alike:
            return self.part
        orphans = self.mirrors.orphans
        return self.expanded(self.part, None if self.lost is None or orphans is None else orphans[self.lost])

    def grad(self) -> Tensor | None:
        """The network's gradient, in this size."""
        part, orphans = self.part.grad, self.mirrors.orphans
        if part is None or self.alike:
            return part
        lost = None if self.lost is None or orphans is None or orphans.grad is None else orphans.grad[self.lost]
        if part.requires_grad:
            return self.expanded(part, lost)
        if self.gradient is None or self.gradient.part is not part or not _same(self.gradient.lost, lost):
            self.gradient = Gradient(self, part, lost)
        return self.gradient.whole

    def set_grad(self, value: Tensor | None) -> None:
        """Give the network this gradient."""
        self.gradient, orphans = None, self.mirrors.orphans
        if value is None:
            self.part.grad = None
            self.mirrors.drop()
            return
        with torch.no_grad():
            part = self.mirrors.small.smaller(self.name, value.detach())
            self.part.grad = torch.empty_like(self.part, requires_grad=False).copy_(part)
            if self.lost is not None and orphans is not None:
                orphans.grad = torch.zeros_like(orphans) if orphans.grad is None else orphans.grad
                orphans.grad[self.lost] = value.detach()[self.rest]

    def _time(self) -> int:
        return self.mirrors.steps if self.trains else self.mirrors.passes


class Gradient(_Link):
    """What shows one of the network's gradients; `lost`: its part of the orphans' gradient."""

    def __init__(self, pair: Pair, part: Tensor, lost: Tensor | None) -> None:
        self.lost, self._pair = lost, pair
        whole = torch.zeros_like(pair.whole, dtype=part.dtype, requires_grad=False)
        super().__init__(pair.mirrors, pair.name, whole, part)
        self._rest_is_zero = True
        mirror(whole, self)

    stale = True  # torch does not count what a GradScaler writes

    def lost_part(self) -> Tensor | None:
        return self.lost

    def places(self) -> Places | None:
        return self._pair.places()


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return (one if one is None else one.data_ptr()) == (other if other is None else other.data_ptr())
