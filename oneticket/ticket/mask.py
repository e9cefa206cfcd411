"""The mask, which says which weights remain: a value outside the model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Self

import torch
from torch import Tensor

from oneticket.ground.canon import digest
from oneticket.ground.card import card_by
from oneticket.ground.errors import WrongPruneError
from oneticket.ticket import names
from oneticket.ticket.bits import BLOCK, from_bytes, size, to_bytes
from oneticket.ticket.values import copied, from_raw, raw


class Mask(Mapping[str, Tensor]):
    """Parameter name -> bool tensor, True where the weight remains. A tensor without a mask is dense.

    The bits are kept packed and a look-up unpacks a fresh tensor, so no caller can change a mask. Names come sorted.
    `a <= b` says that every remaining weight of `a` remains in `b`, over the same names and shapes.

    Raises PruneError for anything but bool tensors. From Frankle & Carbin 2019, arXiv 1803.03635.

    >>> mask = Mask({"fc.weight": torch.tensor([[True, False], [True, True]])})
    >>> mask.remaining, mask.total, mask.density
    (3, 4, 0.75)
    >>> mask.counts, mask.shapes
    ({'fc.weight': 3}, {'fc.weight': (2, 2)})
    >>> mask <= Mask.full(mask)
    True
    """

    __slots__ = ("_bits", "_shapes")

    def __init__(self, remaining: Mapping[str, Tensor]) -> None:
        if not isinstance(remaining, Mapping):
            raise WrongPruneError(f"mask: expected a mapping from name to bool tensor, got {type(remaining).__name__}")
        for name, tensor in remaining.items():
            names.check(name, "mask")
            if not isinstance(tensor, Tensor):
                raise WrongPruneError(f"mask {name!r}: expected a bool tensor, got {type(tensor).__name__}")
            if tensor.dtype != torch.bool or tensor.layout != torch.strided or tensor.is_meta:
                raise WrongPruneError(
                    f"mask {name!r}: expected a dense bool tensor, got {tensor.dtype}, layout {tensor.layout}, "
                    f"on {tensor.device}; from zeros and ones use `values != 0`"
                )
        self._shapes = {name: tuple(remaining[name].shape) for name in sorted(remaining)}
        self._bits = {name: raw(to_bytes(remaining[name].detach().to("cpu").reshape(-1))) for name in self._shapes}

    @classmethod
    def full(cls, like: Mapping[str, Tensor | tuple[int, ...]]) -> Self:
        """The full mask of the given tensors or shapes: nothing is pruned.

        >>> Mask.full({"fc.weight": (3, 2)}).remaining
        6
        """
        made = cls({})
        for name in sorted(like):
            shape = tuple(thing.shape if isinstance(thing := like[name], Tensor) else thing)
            total = math.prod(shape)
            made._shapes[names.check(name, "mask")] = shape
            made._bits[name] = b"\xff" * (total // 8) + bytes([2 ** (total % 8) - 1] * (total % 8 > 0))
        return made

    @classmethod
    def unpack(cls, packed: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The mask whose `pack()` is given; raises PruneError for wrong names, sizes or padding.

        >>> Mask.unpack({"fc.weight": torch.tensor([0b101], dtype=torch.uint8)}, {"fc.weight": (3,)})["fc.weight"]
        tensor([ True, False,  True])
        """
        if set(packed) != set(shapes):
            raise WrongPruneError(
                f"packed mask: bits and shapes must have the same names; bits {names.listed(set(packed))}, "
                f"shapes {names.listed(set(shapes))}"
            )
        for name, bits in packed.items():
            total = math.prod(shapes[name])
            if bits.dtype != torch.uint8 or bits.dim() != 1 or bits.numel() != size(total):
                raise WrongPruneError(
                    f"packed mask {name!r}: shape {tuple(shapes[name])} needs {size(total)} uint8 in one dimension, "
                    f"got {bits.dtype} {tuple(bits.shape)}"
                )
            if total % 8 and int(bits[-1]) >> total % 8:
                raise WrongPruneError(f"packed mask {name!r}: the padding bits of the last byte are not zero")
        made = cls({})
        made._shapes = {name: tuple(shapes[name]) for name in sorted(shapes)}
        made._bits = {name: raw(copied(packed[name])) for name in made._shapes}
        return made

    def pack(self) -> dict[str, Tensor]:
        """Name -> uint8, 1-D: eight weights a byte, the first in the lowest bit, padding bits zero.

        >>> Mask({"fc.weight": torch.tensor([True, False, True])}).pack()
        {'fc.weight': tensor([5], dtype=torch.uint8)}
        """
        return {name: from_raw(bits, torch.uint8, (len(bits),)) for name, bits in self._bits.items()}

    def __getitem__(self, name: str) -> Tensor:
        shape, bits = self._shapes[name], self._bits[name]
        packed = from_raw(bits, torch.uint8, (len(bits),))
        return from_bytes(packed, math.prod(shape)).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape."""
        return dict(self._shapes)

    @property
    def counts(self) -> dict[str, int]:
        """Name -> number of remaining weights."""
        return {name: _number(bits).bit_count() for name, bits in self._bits.items()}

    @property
    def remaining(self) -> int:
        """The number of remaining weights."""
        return sum(self.counts.values())

    @property
    def total(self) -> int:
        """The number of weights, remaining or pruned, under the mask's names."""
        return sum(math.prod(shape) for shape in self._shapes.values())

    @property
    def density(self) -> float:
        """remaining / total; 1.0 for an empty mask."""
        return self.remaining / self.total if self.total else 1.0

    @property
    def digest(self) -> str:
        """SHA-256 over names, shapes and bits, as 64 hex digits.

        >>> Mask.full({"fc.weight": (2,)}).digest == Mask({"fc.weight": torch.tensor([True, True])}).digest
        True
        """
        bits = {name: hashlib.sha256(bits).hexdigest() for name, bits in self._bits.items()}
        return digest({name: [list(shape), bits[name]] for name, shape in self._shapes.items()})

    def where(self, rule: Callable[..., Tensor], *of: Mapping[str, Tensor]) -> Mask:
        """The remaining weights of which a rule on their values is true; in little memory, since asked block by block.

        `of`: one mapping or several to tensors of the mask's shapes on the CPU. `rule`: entry by entry, from blocks of
        them to bool.

        >>> weights = {"w": torch.tensor([0.0, 2.0, 3.0])}
        >>> Mask({"w": torch.tensor([True, True, False])}).where(lambda weight: weight > 1, weights)["w"]
        tensor([False,  True, False])
        """
        found = self.pack()
        for name, bits in found.items():
            flat = [torch.split(each[name].detach().reshape(-1), BLOCK) for each in of]
            for some, *values in zip(torch.split(bits, BLOCK // 8), *flat, strict=True):
                some.bitwise_and_(to_bytes(rule(*values)))
        return Mask.unpack(found, self._shapes)

    def without(self, dropped: Collection[str]) -> Mask:
        """The mask without these names: they become dense by policy. Names that it does not have are ignored.

        Raises PruneError for a single text in place of names.

        >>> list(Mask.full({"conv.weight": (2, 2), "fc.weight": (2,)}).without(["fc.weight"]))
        ['conv.weight']
        """
        if isinstance(dropped, str):
            raise WrongPruneError(f"expected names, such as [{dropped!r}], got the text {dropped!r}")
        packed = {name: bits for name, bits in self.pack().items() if name not in dropped}
        return Mask.unpack(packed, {name: self._shapes[name] for name in packed})

    def project(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """New tensors whose pruned entries are exactly +0.0, NaN and infinity included; other names come through as is.

        Raises PruneError for a masked name that is missing or has another shape.

        >>> mask = Mask({"fc.weight": torch.tensor([True, False])})
        >>> mask.project({"fc.weight": torch.tensor([3.0, math.nan]), "fc.bias": torch.ones(1)})
        {'fc.weight': tensor([3., 0.]), 'fc.bias': tensor([1.])}
        """
        self.check(tensors)
        return {
            name: torch.where(self[name].to(tensor.device), tensor, 0) if name in self._shapes else tensor
            for name, tensor in tensors.items()
        }

    def project_(self, tensors: Mapping[str, Tensor]) -> None:
        """The same in place, for CPU tensors that nobody else has. Raises PruneError as `project` does.

        >>> weights = {"fc.weight": torch.tensor([3.0, 4.0])}
        >>> Mask({"fc.weight": torch.tensor([True, False])}).project_(weights)
        >>> weights["fc.weight"]
        tensor([3., 0.])
        """
        self.check(tensors)
        for name in self._shapes:
            tensors[name].masked_fill_(self[name].logical_not_(), 0)

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise PruneError for a masked name that is missing, or a tensor that has another shape.

        >>> Mask.full({"fc.weight": (2,)}).check({"fc.weight": torch.zeros(3)})
        Traceback (most recent call last):
            ...
        oneticket.ground.errors.WrongPruneError: mask 'fc.weight': expected a tensor of shape (2,), got (3,)
        """
        for name, shape in self._shapes.items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                found = tuple(tensors[name].shape) if name in tensors else "no such tensor"
                raise WrongPruneError(f"mask {name!r}: expected a tensor of shape {shape}, got {found}")

    def __le__(self, other: Mask) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        pairs = ((_number(self._bits[name]), _number(other._bits.get(name, b""))) for name in self._shapes)
        return self._shapes == other._shapes and all(mine & ~theirs == 0 for mine, theirs in pairs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self._shapes == other._shapes and self._bits == other._bits

    def __hash__(self) -> int:
        return hash(self.digest)

    _repr_html_ = card_by("ticket.cards:of_mask")

    def __repr__(self) -> str:
        remain = f"{self.remaining:,} of {self.total:,} weights remain"
        return f"Mask({len(self)} tensors, {remain}, density {self.density:.4g})"


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, "little")
