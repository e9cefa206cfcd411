"""A set that is loaded: its examples as they are stored, what one input is, and what a network for it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from oneticket.data.facts import Facts
from oneticket.data.images.stream import Stream
from oneticket.data.reading import Reading
from oneticket.data.scale import Scale
from oneticket.ground.brief import brief
from oneticket.task.heads import Head
from oneticket.task.inputs import Inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Inputs and targets of one part, on one device, as they are stored: scaled batch by batch.

    `inputs`: images uint8 or float32 (N, C, H, W), vectors float32 (N, F), series float32 (N, C, T), tokens int64
    (N, T). `targets`: classes int64 (N,), numbers float32 (N, K) in their own unit, tokens int64 (N, T), or as given.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def labels(self) -> torch.Tensor:
        """The targets, by the name that they had in 0.1, where all were classes: scripts that read it still run."""
        return self.targets


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of several sets in one `Data`: how many outputs it needs, and training and test examples it has.

    Examples and outputs of the sets follow each other in the order of the members.
    """

    name: str
    outputs: int
    examples: int
    tests: int
    flip: bool
    crop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A loaded set: its parts, the form of one input, a network's number of outputs, and the training part's moments.

    `classes`: their names; none if targets are not classes. `mean` and `std`: per channel of images and series, per
    number of vectors, none of tokens; in units of 0..1 for 8-bit images, else in the set's own; of several sets those
    of each in a row. `scale`: the unit of targets that are numbers, else None. `reading`: one line on how the whole
    set was read: which folder became which part, and what was left out. `digest` changes with any input, target or
    selection (of streamed sets: with any file). `columns`: of a table, see `sources.Raw`. `flip` and `crop`: the
    augmentation of training images, of several sets the strongest. `members`: the sets of several as one; none of one
    set. `temperature`: how their examples are drawn.
    """

    train: Examples | Stream
    test: Examples | Stream
    inputs: Inputs
    outputs: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    device: torch.device
    reading: Reading
    scale: Scale | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    flip: bool = False
    crop: int = 0
    members: tuple[Member, ...] = ()
    temperature: float = 1.0

    __repr__ = brief

    @property
    def heads(self) -> tuple[Head, ...]:
        """The head of each of several sets; none of one set."""
        return tuple(Head(name=each.name, outputs=each.outputs, tests=each.tests) for each in self.members)

    @property
    def bytes(self) -> int:
        """How much memory its examples take; of streamed ones nothing is held."""
        held = [part for part in (self.train, self.test) if isinstance(part, Examples)]
        return sum(part.inputs.nbytes + part.targets.nbytes for part in held)

    @property
    def facts(self) -> Facts:
        """What planning must know of it."""
        return Facts(
            inputs=self.inputs,
            outputs=self.outputs,
            examples=len(self.train),
            digest=self.digest,
            reading=self.reading,
        )
