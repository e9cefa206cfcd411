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

    def take(self, shape: Sequence[int]) -> Tensor:
        """A float32 tensor of any values, contiguous, that begins at a multiple of 64 bytes, as torch's do."""
        size = math.prod(shape)
        if size < SMALLEST:
            return torch.empty(*shape, dtype=torch.float32, device="cpu")
        spare = self._spare.setdefault(size, [])
        try:  # asking first whether there is one would let two threads ask for the last
            whole = spare.pop()
        except IndexError:
            whole = np.empty(size + LINE, np.float32)
            skipped = -(whole.ctypes.data // 4) % LINE
            whole = whole[skipped : skipped + size]
        lent = whole[:]  # which dies with the tensor's memory
        weakref.finalize(lent, spare.append, whole).atexit = False
        return torch.from_numpy(lent).view(*shape)

    def __deepcopy__(self, memo: object) -> Room:
        return Room()

    def __reduce__(self) -> tuple[Any, ...]:
        return Room, ()
