"""Where the remaining weights of a linear layer are, in blocks of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oneticket.compact.pattern import BLOCK, narrow

Array = np.ndarray[Any, Any]
ROWS = 48  # inputs of a block at least: 128 examples of each are 24 kB, which stay in the first cache
FEW = 12  # weights that an output has in a block at least, on average: shorter loops cost more than they save


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """Which weights (O, I) of a linear layer remain.

    `place`: the input of each weight, output by output, in order: two bytes a weight, four of more than 65,536 inputs.
    `begins` (blocks + 1, O), int32: of every output, its first weight in each block of inputs, and the one after its
    last. A third of a byte a weight.

    >>> found = Blocks.of(torch.tensor([[True, False, True], [False, True, False]]))
    >>> found.place.tolist(), found.begins.tolist()
    ([0, 2, 1], [[0, 2], [2, 3]])
    """

    inputs: int
    outputs: int
    place: Array
    begins: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weights."""
        return self.outputs, self.inputs

    @classmethod
    def of(cls, remaining: Tensor) -> Blocks:
        """The blocks of a bool tensor (O, I)."""
        outputs, inputs = remaining.shape
        size, most = ROWS, int(remaining.count_nonzero())
        while size < inputs and size * most < FEW * remaining.numel():
            size *= 2
        blocks = -(-inputs // size)
        counts, found = [], []
        for lives in torch.split(remaining, max(1, BLOCK // inputs)):
            rows, place = lives.numpy().nonzero()
            counts.append(np.bincount(rows * blocks + place // size, minlength=len(lives) * blocks))
            found.append(place.astype(narrow(inputs)))
        ends = np.concatenate(counts).cumsum().astype(np.int32).reshape(outputs, blocks).T
        begins = np.concatenate([np.append(0, ends[-1, :-1])[None].astype(np.int32), ends])
        return cls(inputs=inputs, outputs=outputs, place=np.concatenate(found), begins=begins)


@lru_cache(maxsize=64)
def whole(outputs: int, inputs: int) -> Blocks:
    """The blocks of a small layer of which all weights remain."""
    return Blocks.of(torch.ones(outputs, inputs, dtype=torch.bool, device="cpu"))
