"""Zeroing by a pattern, in place: exact +0.0 for any value, NaN and infinity too.

A bitwise AND with 0 or -1 on the tensor read as integers; the pattern is one byte per weight. Numba's kernels (`fused`)
widen it on the fly; without them it is widened block by block, in a temporary buffer. Medians for 300 x 784 weights of
which 10 % remain, one thread: kernels 14 us, blocks 57 us (60 and 210 for 1 M weights). A multiplication with float32
zeros and ones takes 21 us, but it keeps NaN and takes four bytes a weight. Slower than blocks: `mul_(bool)` 120,
`masked_fill_` 280, `torch.where` 310. Large blocks are faster: all gates of a step of an MLP of 1 M weights took 0.48
ms with blocks of 1 MiB, 0.58 with 256 KiB (in turn, busy machine, n = 60).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from functools import cache
from itertools import chain, starmap
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from oneticket.ground.extras import numba_works
from oneticket.guard.packed import values
from oneticket.ticket.bits import to_bytes
from oneticket.ticket.shards import local


def zero(tensor: Tensor, keep: Tensor, *, room: int | None = None) -> None:
    """Set entries to exactly +0.0 where `keep` is 0, in place; others keep their bits where `keep` is -1.

    `room`: bytes of a block, by default `ROOM`; if given, no kernel is used.
    """
    alike = tensor.is_cpu and keep.is_cpu and tensor.stride() == keep.stride()  # it lies as `keep`, without gaps
    if alike and room is None and _KERNELS:
        _KERNELS[0].gate(tensor.data_ptr(), keep.data_ptr(), keep.numel(), tensor.element_size())
        increment_version(tensor)
        return
    bits, keep = tensor.detach().view(WORDS[tensor.dtype]), keep.to(tensor.device)
    if not alike:
        bits.bitwise_and_(keep)
        return
    # Block by block, so that what is widened stays in the cache.
    total = bits.numel()
    wide = torch.empty(max(1, min(total, (room or ROOM) // bits.element_size())), dtype=bits.dtype, device="cpu")
    bits, keep = (each.as_strided((total,), (1,)) for each in (bits, keep))
    for at in range(0, total, len(wide)):
        block = bits[at : at + len(wide)]
        block.bitwise_and_(wide[: len(block)].copy_(keep[at : at + len(wide)]))


class Lies:
    """How a pattern lies in memory. `kernel`: zeroes by a pattern that lies there; None where there is none."""

    __slots__ = ("address", "count", "kernel", "stride")

    def __init__(self, keep: Tensor) -> None:
        self.stride, self.count, self.address = keep.stride(), keep.numel(), keep.data_ptr()
        self.follow(keep)

    def follow(self, keep: Tensor) -> None:
        """Take the kernel for the pattern; it may have been loaded since."""
        self.kernel = _KERNELS[0].gate if _KERNELS and keep.is_cpu else None


def some(dead: Tensor) -> Tensor:
    """Positions of some entries that are True, the first among them, spread over a flat tensor."""
    among = torch.arange(0, len(dead), max(1, len(dead) // (64 * PLACES)), device="cpu")
    found = among[dead[among]]
    found = found[:: max(1, len(found) // PLACES)][:PLACES]
    first = dead.view(torch.uint8).argmax().view(1) if dead.any() else among[:0]
    return torch.cat([first, found])


def written(tensor: Tensor, places: Tensor) -> bool:
    """Whether a tensor on the CPU, without gaps, is not zero at one of these places in memory, as `some` gives them."""
    if _KERNELS:
        found: bool = _KERNELS[0].written(tensor.data_ptr(), places.data_ptr(), places.numel(), tensor.element_size())
        return found
    return bool(torch.take(tensor.detach().as_strided((tensor.numel(),), (1,)), places).any())


class Spots:
    """Some places in each of several tensors, as `written` takes them, that are read together."""

    __slots__ = ("_pairs", "_table")

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        self._pairs = [*pairs]
        rows = [(one.data_ptr(), at.data_ptr(), at.numel(), one.element_size()) for one, at in self._pairs]
        self._table = array("q", chain.from_iterable(rows))

    def written(self) -> bool:
        """Whether any of the tensors, which lie where they lay, is not zero at one of its places."""
        if _KERNELS:
            found: bool = _KERNELS[0].any_written(self._table.buffer_info()[0], len(self._pairs))
            return found
        return any(starmap(written, self._pairs))


def leaks(tensor: Tensor, keep: Tensor) -> int:
    """The number of entries on this rank that are not zero where `keep` is 0."""
    here = values(local(tensor)).detach()
    keep = keep.to(here.device)
    if not here.is_cpu or not here.dim():
        return int(((here != 0) & (keep == 0)).count_nonzero())
    some = max(1, ROOM * len(here) // max(1, here.nbytes))  # what is compared takes three bytes a weight
    pieces = zip(torch.split(here, some), torch.split(keep, some), strict=True)
    return sum(int(((part != 0) & (kept == 0)).count_nonzero()) for part, kept in pieces)


def same(keep: Tensor, packed: Tensor) -> bool:
    """Whether a pattern is that of a mask's packed bits."""
    flat = keep.cpu().reshape(-1)
    pieces = zip(torch.split(flat, ROOM), torch.split(packed, ROOM // 8), strict=True)
    return all(torch.equal(to_bytes(some != 0), bits) for some, bits in pieces)


def hasten(steps: int, sizes: Iterable[int]) -> None:
    """Count so many more steps of gradients of those sizes; load the kernels once they would have saved their loading.

    They give the same bits. If numba is loaded already, they are used from now on.
    """
    if _KERNELS:
        return
    _LOST[0] += steps * sum(SAVED_A_TENSOR + SAVED_A_WEIGHT * size for size in sizes)
    if ("numba" in sys.modules or _LOST[0] > LOADING) and (found := kernels()) is not None:
        _KERNELS.append(found)


def load() -> None:
    """Load numba and a kernel now, if numba works, so that processes forked from this one need not.

    It takes 0.45 s: numba learns at its first kernel which functions it knows.
    """
    if (found := kernels()) is not None:
        number = torch.zeros(1, dtype=torch.float32, device="cpu")
        keep = torch.zeros(1, dtype=torch.int8, device="cpu")
        found.gate(number.data_ptr(), keep.data_ptr(), 1, number.element_size())


@cache
def kernels() -> ModuleType | None:
    """Those of `fused`; None where numba does not work."""
    if not numba_works():
        return None
    from oneticket.guard import fused

    return fused


WORDS: dict[torch.dtype, torch.dtype] = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}

PLACES = 64
"""Entries of a tensor that are looked at after a step."""

ROOM = 2**20
"""Bytes of a block of the pattern that is widened at once."""

LOADING, SAVED_A_TENSOR, SAVED_A_WEIGHT = 0.5, 40e-6, 150e-12
"""Seconds that numba takes to load, and that its kernels save at each gradient; no clock decides. So they are loaded
after 4,200 steps of LeNet-300-100, 5,700 on images of 8 x 8, 2,200 of an MLP of 1 M weights and 310 of 10 M; measured,
they save 180, 95, 330 and 1,500 us a step."""

_KERNELS: list[ModuleType] = []
_LOST = [0.0]
