"""Scores by an entry-wise rule, computed where they are read: they take no memory beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import final

import torch
from torch import Tensor

Rule = Callable[..., Tensor]
Values = tuple[Tensor, ...]


@final
class Scores(Mapping[str, Tensor]):
    """Name -> `rule(*values)`, a new tensor at every look-up, where the rule works entry by entry.

    `of`: one mapping or several, from the same names to tensors of equal shapes. Scores change with these tensors.

    >>> scores = Scores(torch.abs, {"w": torch.tensor([-2.0, 1.0, -3.0])})
    >>> scores["w"], [scores.rule(*values) for values in scores.split("w", 2)]
    (tensor([2., 1., 3.]), [tensor([2., 1.]), tensor([3.])])
    """

    def __init__(self, rule: Rule, *of: Mapping[str, Tensor]) -> None:
        self.rule, self.of = rule, of

    @classmethod
    def read(cls, given: Mapping[str, Tensor]) -> Scores:
        """The same scores in this form."""
        return given if isinstance(given, Scores) else cls(_same, given)

    def split(self, name: str, size: int) -> list[Values]:
        """What the rule takes for every `size` entries, 1-D on the CPU."""
        flat = [torch.split(each[name].detach().to("cpu").reshape(-1), size) for each in self.of]
        return list(zip(*flat, strict=True))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a name's scores."""
        return tuple(self.of[0][name].shape)

    def __getitem__(self, name: str) -> Tensor:
        return self.rule(*(each[name].detach() for each in self.of))

    def __contains__(self, name: object) -> bool:
        return name in self.of[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.of[0])

    def __len__(self) -> int:
        return len(self.of[0])


def _same(values: Tensor) -> Tensor:
    return values
