"""The form of a network's input: an image, a vector of numbers, a series, or tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch

from oneticket.ground.brief import brief
from oneticket.ground.errors import SpecError, unknown
from oneticket.task.spec import Kind

AXES: dict[str, tuple[str, ...]] = {
    "images": ("channels", "height", "width"),
    "vectors": ("numbers",),
    "series": ("channels", "steps"),
    "tokens": ("tokens",),
}
"""Kind -> the names of an input's dimensions."""


ALIKE: dict[str, str] = {
    "images": "one size and channels",
    "vectors": "as many numbers",
    "series": "as many channels and steps",
    "tokens": "one length",
}
"""Kind -> what two sets must have in common for one network to take both."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The kind and shape of one input: images (C, H, W), vectors (F,), series (C, T), tokens (T,).

    All are float32 except tokens, int64 ids from 0 to `vocabulary` - 1. Raises SpecError for a wrong shape, and for
    tokens without a vocabulary.

    >>> Inputs(shape=(1, 8, 8)).example(2).shape
    torch.Size([2, 1, 8, 8])
    >>> print(Inputs(kind="tokens", shape=(64,), vocabulary=256))
    64 tokens out of 256
    """

    kind: Kind = "images"
    shape: tuple[int, ...]
    vocabulary: int | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise SpecError(unknown("kind of inputs", self.kind, get_args(Kind)))
        axes = AXES[self.kind]
        if len(self.shape) != len(axes) or min(self.shape, default=0) < 1:
            raise SpecError(f"{self.kind}: expected a shape ({', '.join(axes)}) of 1 or more each, got {self.shape}")
        if (self.kind == "tokens") != (self.vocabulary is not None) or (self.vocabulary or 1) < 1:
            raise SpecError(f"{self.kind}: a vocabulary of 1 or more is for tokens alone, got {self.vocabulary}")

    def __str__(self) -> str:
        by = " x ".join(map(str, self.shape))
        if self.kind == "tokens":
            return f"{by} tokens out of {self.vocabulary}"
        return {"images": f"images {by}", "vectors": f"vectors of {by} numbers", "series": f"series {by}"}[self.kind]

    def example(self, batch: int, *, device: torch.device | str = "cpu") -> torch.Tensor:
        """A batch of zeros (batch, *shape), as a network's input."""
        dtype = torch.int64 if self.kind == "tokens" else torch.float32
        return torch.zeros(batch, *self.shape, dtype=dtype, device=device)

    def plain(self) -> dict[str, Any]:
        """Its form in a ticket's network. Images have only their shape, as before there were kinds.

        >>> Inputs(kind="vectors", shape=(16,)).plain()
        {'shape': [16], 'kind': 'vectors'}
        """
        kind = {} if self.kind == "images" else {"kind": self.kind}
        words = {} if self.vocabulary is None else {"vocabulary": self.vocabulary}
        return {"shape": list(self.shape), **kind, **words}

    @classmethod
    def read(cls, network: Mapping[str, Any]) -> Inputs:
        """Read it back from a ticket's network; SpecError for an impossible one."""
        return cls(
            kind=network.get("kind", "images"),
            shape=tuple(network["shape"]),
            vocabulary=network.get("vocabulary"),
        )
