"""Named random streams: every draw comes from (root, replicate, name, position), never from a shared global state.

Streams have no state: the draw at a position does not depend on earlier draws. So a resumed run gives the same bits,
and a control is paired with its main run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oneticket.ground.canon import dumps

if TYPE_CHECKING:
    import torch

NAMES = ("init", "order", "augment", "head", "reinit", "shuffle", "prune", "forward")


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """The random streams of one replicate.

    >>> one = Streams(root=0, replicate=0)
    >>> one.seed("order", 3) == one.seed("order", 3), one.seed("order", 3) == one.seed("order", 4)
    (True, False)
    """

    root: int
    replicate: int

    def seed(self, name: str, *at: int | str) -> int:
        """A 63-bit seed for the stream `name` at a position, by SHA-256."""
        assert name in NAMES, name
        text = dumps([self.root, self.replicate, name, *at])
        return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") >> 1

    def generator(self, name: str, *at: int | str) -> torch.Generator:
        """A fresh torch generator, on the CPU, for the stream `name` at a position."""
        import torch

        return torch.Generator().manual_seed(self.seed(name, *at))
