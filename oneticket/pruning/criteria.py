"""Criteria: a score for every weight; the lowest go first.

A criterion sees the prunable tensors by name, after training and, if it asks, at initialisation, and a generator of
random numbers. It scores every entry, dead ones too; selection looks at the living only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from oneticket.ground.errors import PruneError, unknown

Tensors = Mapping[str, Tensor]
Initial = Callable[[], Tensors]
Criterion = Callable[[Tensors, Initial, torch.Generator], dict[str, Tensor]]


def magnitude(trained: Tensors, initial: Initial, generator: torch.Generator) -> dict[str, Tensor]:
    """|w| after training, as in Han et al. (2015) and the paper."""
    return {name: weight.detach().abs() for name, weight in trained.items()}


def magnitude_at_init(trained: Tensors, initial: Initial, generator: torch.Generator) -> dict[str, Tensor]:
    """|w| before training: what magnitude knows without any data (Frankle et al., 2021)."""
    return {name: weight.detach().abs() for name, weight in initial().items()}


def random(trained: Tensors, initial: Initial, generator: torch.Generator) -> dict[str, Tensor]:
    """A uniform draw for every weight: the floor for every criterion."""
    return {name: torch.rand(trained[name].shape, generator=generator) for name in sorted(trained)}


def score(criterion: str, *, trained: Tensors, initial: Initial, generator: torch.Generator) -> dict[str, Tensor]:
    """Scores by the criterion of that name, float tensors of the weights' shapes; PruneError if the name is unknown.

    >>> w = {"a": torch.tensor([-2.0, 1.0])}
    >>> score("magnitude", trained=w, initial=lambda: w, generator=torch.Generator())["a"]
    tensor([2., 1.])
    """
    if criterion not in CRITERIA:
        raise PruneError(unknown("criterion", criterion, CRITERIA))
    return CRITERIA[criterion](trained, initial, generator)


CRITERIA: dict[str, Criterion] = {
    "magnitude": magnitude,
    "magnitude-at-init": magnitude_at_init,
    "random": random,
}
