"""Ledgers: what the rules of a walk report of units. `record` stores it, `check` checks a smaller network with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from oneticket.compact.labels import NONE


@dataclass(frozen=True, kw_only=True)
class LedgerHold:
    """Why a unit has to stay: the layer that stopped it, and what for."""

    at: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """A layer that each unit, or each of `groups` groups, goes through by itself.

    `inputs`, `outputs`: the units that enter and leave. `fresh`: whether the latter have names of their own.
    """

    inputs: Tensor
    outputs: Tensor
    groups: int
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A layer that draws a random number for every number of a tensor, with its units along one dimension.

    `units`: the unit at each place; `order`: the dimensions as they lie in memory (`wide.order`).
    """

    units: Tensor
    dim: int
    order: tuple[int, ...]


@dataclass(kw_only=True)
class LedgerStep:
    """One thing that a forward pass does: `what` and with which numbers, on which units, giving what."""

    at: str
    what: str
    numbers: str
    units: list[Tensor] = field(default_factory=list)
    joined: list[Tensor] = field(default_factory=list)
    held: list[Tensor] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)


class Ledger(ABC):
    """What the rules of a walk report about units."""

    def __init__(self) -> None:
        self.steps: list[LedgerStep] = []

    @abstractmethod
    def begin(self, step: LedgerStep) -> None:
        """Something is about to be done."""

    @abstractmethod
    def shapes(self, shapes: list[tuple[int, ...]]) -> None:
        """The sizes of tensors that came out and have no units."""

    @abstractmethod
    def hold(self, labels: Tensor, why: str, *, reads: bool = False) -> None:
        """These units have to stay; `reads`: since they are read for certain."""

    @abstractmethod
    def join(self, one: Tensor, other: Tensor) -> None:
        """These units lie on each other: both stay or both go. What lies on no unit's has to stay."""

    @abstractmethod
    def layer(self, name: str, inputs: Tensor, count: int) -> Tensor:
        """The units that come out of a layer that mixes its inputs."""

    @abstractmethod
    def carrier(self, name: str, inputs: Tensor, groups: int, count: int, *, fresh: bool) -> Tensor:
        """The units that leave a layer that each of its groups goes through by itself."""

    @abstractmethod
    def carries(self, name: str, several: bool) -> bool:
        """Whether a layer is a carrier: it has several groups or slopes, or had them before it lost units."""

    @abstractmethod
    def noise(self, name: str, noise: Noise) -> None:
        """A layer draws random numbers for these units."""

    @abstractmethod
    def ends(self, labels: Tensor) -> None:
        """These units are in the output."""


def some(labels: Tensor) -> list[int]:
    """The units among labels, each once."""
    found: list[int] = labels.unique().tolist()  # type: ignore[no-untyped-call]
    return [unit for unit in found if unit != NONE]


def pairs(one: Tensor, other: Tensor) -> Tensor:
    """Which unit lies on which, each once: (pairs, 2)."""
    found: Tensor = torch.stack([one, other], 1).unique(dim=0)  # type: ignore[no-untyped-call]
    return found
