"""Small networks, data and loops of one's own, for the tests of the search that they drive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oneticket.lottery.loop_search import Search


def net(seed: int = 0, norm: bool = False, width: int = 12) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = [nn.BatchNorm1d(width)] if norm else []
        return nn.Sequential(nn.Linear(6, width), *middle, nn.ReLU(), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3))


def sgd(model: nn.Module, **settings: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, **settings})


def data(step: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 6, generator=draw)
    return inputs, (inputs[:, :3] * 2).argmax(1)


def steps(model: nn.Module, optimizer: Any, on_step: Callable[..., object], start: int, stop: int) -> None:
    for step in range(start, stop):
        inputs, labels = data(step)
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        on_step(step, "whatever", ["a", "framework"])


def copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: Any, other: Any) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    gates = sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())
    return gates + len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def loop(search: Search, count: int = 3) -> None:
    for level in search:
        steps(level.model, level.optimizer, level.step, 0, count)
