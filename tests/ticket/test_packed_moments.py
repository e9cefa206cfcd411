"""Moments of a tensor class of their own, as in torchao: exact zeros where the class can hold them, else refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oneticket.ground.errors import GuardError
from oneticket.guard.guard import attach
from oneticket.lottery.loop_search import Search


class Coded(Tensor):
    """Values as the nearest of a few levels times one scale; it knows `copy_` alone."""

    levels: Tensor

    @staticmethod
    def __new__(cls, like: Tensor) -> Coded:
        return Tensor._make_wrapper_subclass(cls, like.shape, dtype=like.dtype)

    def __init__(self, like: Tensor) -> None:
        self.codes, self.scale = torch.zeros(like.shape, dtype=torch.uint8), torch.zeros(())

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten.copy_.default:
            raise NotImplementedError(f"{cls.__name__} does not implement {func}")
        target, source = args[:2]
        if not isinstance(target, Coded):
            return target.copy_(cls.levels[source.codes.int()] * source.scale)
        target.scale = source.abs().max().clip(1e-12)
        target.codes = (source.unsqueeze(-1) / target.scale - cls.levels).abs().argmin(-1).to(torch.uint8)
        return target


class Eight(Coded):
    levels = torch.arange(-127, 128) / 127


class Four(Coded):
    """As the second moment of a 4-bit AdamW: from a sixteenth on."""

    levels = torch.arange(1, 17) / 16


class Mute(Coded):
    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(args[0], Coded):
            return super().__torch_dispatch__(func, types, args, kwargs)
        raise NotImplementedError("no way out")

    levels = Eight.levels


class Weight(Eight):
    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(torch.empty(args[0].shape))
        return super().__torch_dispatch__(func, types, args, kwargs)


class Momentum(torch.optim.Optimizer):
    """SGD with momentum and decay, kept in a class."""

    def __init__(self, parameters: Any, kind: type[Coded]) -> None:
        self.kind = kind
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            buffer = state.setdefault("momentum", self.kind(parameter) if parameter.dim() > 1 else None)
            if buffer is None:
                continue
            full = self.kind.levels[buffer.codes.int()] * buffer.scale * 0.9 + parameter.grad + 0.1 * parameter
            buffer.copy_(full)
            parameter -= self.param_groups[0]["lr"] * full


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(4, 6)).square().sum().backward()
    optimizer.step()


LIVING = torch.arange(48).view(8, 6) % 3 == 0


@pytest.mark.parametrize("rule", ["gate+project", "project"])
def test_moments_are_exactly_zero_where_the_class_can_hold_it(rule: str) -> None:
    model = net()
    optimizer = Momentum(model.parameters(), Eight)
    with attach(model, optimizer, {"0.weight": LIVING}, rule=rule) as guard:
        for _ in range(5):
            step(model, optimizer)
            assert guard.audit().moments == 1
        moment = optimizer.state[model[0].weight]["momentum"]
        assert (moment.codes[LIVING] != 127).any()
        assert (moment.codes[~LIVING] == 127).all()  # which stands for 0
        assert not model[0].weight[~LIVING].any()
        moment.copy_(torch.ones(8, 6))
        with pytest.raises(GuardError, match="Momentum moments at pruned weights that are not zero: 32"):
            guard.audit()
        step(model, optimizer)
        guard.audit()


def test_what_needs_no_zeroing_is_not_rounded_again() -> None:
    model, writes = net(), []

    class Noted(Eight):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            writes.append(isinstance(args[0], Noted))
            return super().__torch_dispatch__(func, types, args, kwargs)

    optimizer = Momentum(model.parameters(), Noted)
    optimizer.param_groups[0]["params"] = [model[0].weight]
    with attach(model, optimizer, {"0.weight": LIVING}):
        for _ in range(3):
            step(model, optimizer)
    assert sum(writes) == 3  # the optimizer's own
    assert len(writes) > 3


@pytest.mark.parametrize(("kind", "words"), [(Four, "cannot hold zero"), (Mute, "cannot be read, so zeros")])
def test_a_class_that_cannot_hold_zeros_is_refused_at_the_first_step(kind: type[Coded], words: str) -> None:
    model = net()
    optimizer = Momentum(model.parameters(), kind)
    with attach(model, optimizer, {"0.weight": LIVING}), pytest.raises(GuardError, match=words):
        step(model, optimizer)
    assert not model[0].weight[~LIVING].any()
    if kind is Four:
        with pytest.raises(GuardError, match=words):
            attach(model, optimizer, {"0.weight": LIVING})
    numbers = []
    with pytest.raises(GuardError, match=words):  # noqa: PT012
        for level in Search(net(), lambda model: Momentum(model.parameters(), kind), levels=2):
            numbers.append(level.number)
            step(level.model, level.optimizer)
    assert numbers == [0]


def test_a_search_over_them_finds_nested_levels() -> None:
    search = Search(net(), lambda model: Momentum(model.parameters(), Eight), levels=2, fraction=0.5)
    for level in search:
        step(level.model, level.optimizer)
        step(level.model, level.optimizer)
    assert search.book.densities == (1.0, 0.5, 0.25)


def test_weights_of_such_a_class_are_refused() -> None:
    model = net()
    model[0].weight = nn.Parameter(Weight(model[0].weight), requires_grad=False)
    with pytest.raises(GuardError, match=r"0\.weight: its values lie in a Weight"):
        attach(model, torch.optim.SGD([model[2].weight]), {"0.weight": LIVING})
