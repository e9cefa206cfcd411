"""The room of a network's sparse layers: memory that every step uses again."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LINE = 16  # numbers of the caches' lines
SMALLEST = 1 << 15  # numbers; smaller blocks come out of the allocator's own store
SPARE = 4  # times what was ever in use at once, of which more is not kept: images may come in ever new sizes


class Room:
    """Lends tensors, and takes their memory back when nothing refers to them any more.

    The C library gives large blocks back to the system, which fills each page with zeros when it is touched anew: of
    9 MB that takes 3 ms, as long as a convolution of 16 channels. What was in use at once stays for the next step, for
    as long as there is a room; a copy has its own.

    >>> room = Room()
    >>> address = room.take((4, 1 << 14)).data_ptr()
    >>> room.take((2, 1 << 15)).data_ptr() == address, room.take((2, 1 << 15)).shape
    (True, torch.Size([2, 32768]))
    """

    def __init__(self) -> None:
        self._spare: dict[int, list[Any]] = {}
        self._made = self._most = 0  # numbers of all blocks, lent or spare, and the most that were lent at once

    def take(self, shape: Sequence[int]) -> Tensor:
        """A float32 tensor of any values, contiguous, that begins at a multiple of 64 bytes, as torch's do."""
        size = math.prod(shape)
        if size < SMALLEST:
            return torch.empty(*shape, dtype=torch.float32, device="cpu")
        spare = self._spare.setdefault(size, [])
        try:  # asking first whether there is one would let two threads ask for the last
            whole = spare.pop()
        except IndexError:
            whole = self._new(size)
        lent = whole[:]  # which dies with the tensor's memory
        weakref.finalize(lent, spare.append, whole).atexit = False
        return torch.from_numpy(lent).view(*shape)

    def _new(self, size: int) -> Any:
        """A block; all spare ones go where they are too many. Batches of two sizes never come to that."""
        spare = sum(each * len(blocks) for each, blocks in [*self._spare.items()])
        self._most = max(self._most, self._made - spare + size)
        if spare > SPARE * self._most:
            for blocks in [*self._spare.values()]:
                blocks.clear()
            self._made -= spare
        self._made += size
        whole = np.empty(size + LINE, np.float32)
        skipped = -(whole.ctypes.data // 4) % LINE
        return whole[skipped : skipped + size]

    def __deepcopy__(self, memo: object) -> Room:
        return Room()

    def __reduce__(self) -> tuple[Any, ...]:
        return Room, ()
