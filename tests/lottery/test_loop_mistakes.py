"""A loop's mistake is told at the step that makes it, and a loop that is right is never told of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from loops import copy, data, hooks, loop, net, same, sgd
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler
from torch.optim.optimizer import _global_optimizer_pre_hooks

from oneticket.ground.errors import GuardError, TrainingError
from oneticket.guard.guard import attach
from oneticket.guard.optimizer_state import keeps_zeros
from oneticket.lottery.level import Level
from oneticket.lottery.loop_search import Search


def backward(model: nn.Module, step: int = 0, factor: float = 1.0) -> None:
    inputs, labels = data(step)
    (factor * cross_entropy(model(inputs), labels)).backward()


def turn(level: Level, optimizer: torch.optim.Optimizer | None = None) -> None:
    backward(level.model)
    (optimizer or level.optimizer).step()


# Each yields before every step of its own that may be refused.
Loop = Callable[[Search], Iterator[None]]


def another(search: Search) -> Iterator[None]:
    mine = torch.optim.SGD(search.model.parameters(), lr=0.1)
    for level in search:
        yield
        turn(level, mine)


def another_within_a_wrapper(search: Search) -> Iterator[None]:
    class Wrapper(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            self.inner.step()

    mine = Wrapper(search.model.parameters(), lr=0.1)
    mine.inner = torch.optim.SGD(search.model.parameters(), lr=0.1)
    for level in search:
        yield
        turn(level, mine)


def earlier(search: Search) -> Iterator[None]:
    first = None
    for level in search:
        first = first or level.optimizer
        yield
        turn(level, first)


def scheduled(make: Callable[[torch.optim.Optimizer], Any], *arguments: float) -> Loop:
    def drive(search: Search) -> Iterator[None]:
        scheduler = None
        for level in search:
            scheduler = scheduler or make(level.optimizer)
            turn(level)
            yield
            scheduler.step(*arguments)

    return drive


class ByHand:
    """A schedule of one's own, as many loops have it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.groups = optimizer

    def step(self) -> None:
        for group in self.groups.param_groups:
            group["lr"] *= 0.5


class Groups(ByHand):
    """As some keep the groups alone."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.groups = optimizer.param_groups

    def step(self) -> None:
        for group in self.groups:
            group["lr"] *= 0.5


class First(ByHand):
    def step(self) -> None:
        self.groups.param_groups[0]["lr"] = 0.5


def called_without(search: Search) -> Iterator[None]:
    """Weights are written by hand, and the level is told of steps."""
    for level in search:
        for _ in range(2):
            backward(level.model)
            with torch.no_grad():
                for parameter in level.model.parameters():
                    parameter -= 0.1 * parameter.grad
            yield
            level.step()


def called_late(search: Search) -> Iterator[None]:
    """Level 0 is told of each epoch."""
    for level in search:
        for _ in range(3):
            turn(level)
        yield
        level.step()


def forgotten(search: Search) -> Iterator[None]:
    """After the first it is told of no more."""
    for level in search:
        turn(level)
        level.step()
        turn(level)
        yield
        turn(level)


def called_for_nothing(search: Search) -> Iterator[None]:
    for level in search:
        level.step()
        yield


PLATEAU = scheduled(lambda one: lr_scheduler.ReduceLROnPlateau(one, patience=9), 0.5)
# loop, its error, words of it, the refused step's number.
MISTAKES: dict[str, tuple[Loop, type[Exception], str, int]] = {
    "another optimizer": (another, GuardError, "level 0: this SGD steps its weights, but it is not the level's", 1),
    "wrapped": (another_within_a_wrapper, GuardError, "level 0: this Wrapper steps its weights", 1),
    "an earlier optimizer": (earlier, TrainingError, "this SGD belongs to an earlier level, and level 1 is open", 2),
    "an earlier scheduler": (
        scheduled(lambda one: lr_scheduler.StepLR(one, 9)),
        TrainingError,
        "let optimizer_fn return (optimizer, scheduler)",
        2,
    ),
    "that waits": (PLATEAU, TrainingError, "level 1 is open", 2),
    "of one's own": (scheduled(ByHand), TrainingError, "level 1 is open", 2),
    "of groups alone": (scheduled(Groups), TrainingError, "level 1 is open", 2),
    "by number": (scheduled(First), TrainingError, "level 1 is open", 2),
    "called without a step": (called_without, TrainingError, "but no optimizer of the level stepped", 2),
    "called late": (called_late, TrainingError, "level 0: 3 optimizer steps, but one call of level.step", 1),
    "forgotten": (forgotten, TrainingError, "level 0: 2 optimizer steps, but one call of level.step", 1),
    "called for nothing": (called_for_nothing, TrainingError, "level.step was called, but no optimizer", 1),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_at_its_step(name: str) -> None:
    drive, error, words, at = MISTAKES[name]
    model, plain = net(), lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
    before: list[dict[str, Any]] = []
    with pytest.raises(error) as raised:
        before.extend(copy(model) for _ in drive(Search(model, plain, levels=2)))
    assert words in str(raised.value)
    assert len(before) == at
    assert not _global_optimizer_pre_hooks
    attach(model, plain(model), {"0.weight": torch.zeros(12, 6, dtype=torch.bool)}).detach()  # the model is free again


def test_an_optimizer_of_an_earlier_level_may_be_looked_at_and_is_itself_again_in_the_end() -> None:
    model, first = net(), None
    for level in Search(model, sgd, levels=1):
        first = first or level.optimizer
        turn(level)
        assert first.param_groups[0]["lr"] == 0.1
        assert "lr: 0.1" in repr(first)
        assert first.state_dict()["param_groups"][0]["lr"] == 0.1
    lr_scheduler.StepLR(first, 1, 0.5)
    first.step()
    assert type(first.param_groups) is list and {*map(type, first.param_groups)} == {dict}
    assert hooks(model, first) == hooks(model, level.optimizer) == 0


def test_an_optimizer_or_scheduler_of_another_level_is_not_taken() -> None:
    kept: list[Any] = []

    def stale(model: nn.Module) -> Any:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        kept.append(lr_scheduler.StepLR(optimizer, 1))
        return optimizer, kept[0]

    with pytest.raises(GuardError, match="level 1: StepLR schedules another optimizer than the level's"):
        loop(Search(net(), stale, levels=1))
    once = torch.optim.SGD((model := net()).parameters(), lr=0.1)
    with pytest.raises(GuardError, match="level 1: an optimizer comes from another level"):
        loop(Search(model, lambda _: once, levels=1))


def adam_and_step(model: nn.Module) -> Any:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    return optimizer, lr_scheduler.StepLR(optimizer, 2, 0.1)


def two_of_each(model: nn.Module) -> Any:
    both = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model[0], model[2:])]
    return both, [lr_scheduler.StepLR(one, 2, 0.1) for one in both]


@pytest.mark.parametrize("optimizer_fn", [adam_and_step, two_of_each])
def test_a_scheduler_comes_with_the_optimizer(optimizer_fn: Callable[[nn.Module], Any]) -> None:
    rates = []
    for level in Search(net(), optimizer_fn, levels=2):
        optimizers, schedulers = ([one] if not isinstance(one, list) else one for one in _parts(level))
        for step in range(4):
            backward(level.model, step)
            for each in (*optimizers, *schedulers):
                each.step()
        assert level.steps == 4
        rates.append([one.param_groups[0]["lr"] for one in optimizers])
    assert rates[0] == rates[1] == rates[2] == pytest.approx([0.001] * len(rates[0]))


def _parts(level: Level) -> tuple[Any, Any]:
    return level.optimizer, level.scheduler


# What a loop may do: optimizers, the loop of one level, the steps that it makes, those told of.
def accumulating(level: Level, calls_step: bool) -> None:
    for step in range(6):
        backward(level.model, step)
        if step % 3 == 2:
            level.optimizer.step()
            level.optimizer.zero_grad()
        if calls_step:
            level.step()


def scaled(level: Level, calls_step: bool) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for step, factor in enumerate((torch.inf, torch.inf, 1.0, torch.inf, 1.0)):
        for one in level.attached:
            one.zero_grad()
        inputs, labels = data(step)
        scaler.scale(cross_entropy(level.model(inputs), labels) * factor).backward()
        for one in level.attached:
            scaler.step(one)
        scaler.update()
        if calls_step:
            level.step()


def closed(level: Level, calls_step: bool) -> None:
    for step in range(2):

        def closure(step: int = step) -> torch.Tensor:
            level.optimizer.zero_grad()
            inputs, labels = data(step)
            loss = cross_entropy(level.model(inputs), labels)
            loss.backward()
            return loss

        level.optimizer.step(closure)
        if calls_step:
            level.step()


def rounds(level: Level, calls_step: bool) -> None:
    for step in range(2):
        backward(level.model, step)
        for one in level.attached:
            one.step()
        if calls_step:
            level.step()


def critic(level: Level, calls_step: bool) -> None:
    """The first steps three times as often as the second."""
    for step in range(6):
        backward(level.model, step)
        level.attached[0].step()
        if step % 3 == 2:
            level.attached[1].step()
            if calls_step:
                level.step()


def ended_early(level: Level, calls_step: bool) -> None:
    """The second stops."""
    for step in range(2):
        backward(level.model, step)
        for one in level.attached[: 2 - step]:
            one.step()
        if calls_step:
            level.step()


def beside(level: Level, calls_step: bool) -> None:
    """Another network is trained in the same loop, and a copy of this one."""
    discriminator, twin = net(3), net(4)
    for step in range(2):
        for model in (discriminator, twin):
            backward(model, step)
            torch.optim.SGD(model.parameters(), lr=0.1).step()
        turn(level)
        if calls_step:
            level.step()


def restored(level: Level, calls_step: bool) -> None:
    """Weights are loaded within the level, and a GradScaler leaves the next step out."""
    turn(level)
    if calls_step:
        level.step()
    level.model.load_state_dict(level.mask.project(copy(net(5))))
    for _ in range(3):
        if calls_step:
            level.step()
    turn(level)
    if calls_step:
        level.step()


def one(model: nn.Module) -> Any:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def fused(model: nn.Module) -> Any:
    return torch.optim.Adam(model.parameters(), fused=True)


def two(model: nn.Module) -> Any:
    return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model[0], model[2:])]


def lbfgs(model: nn.Module) -> Any:
    return torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)


RIGHT: dict[str, tuple[Callable[[nn.Module], Any], Callable[[Level, bool], None], int, int]] = {
    "accumulation": (one, accumulating, 2, 2),
    "scaler": (one, scaled, 2, 2),
    "fused scaler": (fused, scaled, 2, 2),
    "scaler, two": (two, scaled, 2, 2),
    "closure": (one, closed, 2, 2),
    "LBFGS": (lbfgs, closed, 2, 2),
    "rounds": (two, rounds, 2, 2),
    "critic": (two, critic, 6, 2),
    "ended early": (two, ended_early, 2, 2),
    "beside": (one, beside, 2, 2),
    "restored": (one, restored, 2, 2),
}


@pytest.mark.parametrize("calls_step", [False, True], ids=["counted", "called"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_loop_that_is_right_is_not_told_of_a_mistake_and_its_steps_are_counted(name: str, calls_step: bool) -> None:
    optimizer_fn, drive, *steps = RIGHT[name]
    model, ends = net(), []
    search = Search(model, optimizer_fn, levels=1, rewind="2it")
    for level in search:
        drive(level, calls_step)
        ends.append(copy(model))
    assert [record["steps"] for record in search.book.records] == [steps[calls_step]] * 2
    if steps[calls_step] == 2:
        assert same(search.book.weights, ends[0])
    assert hooks(model, level.attached[0]) == len(_global_optimizer_pre_hooks) == 0


def test_hooks_that_count_leave_the_guard_its_trust() -> None:
    """They write nothing, so a step that keeps zeros is still known to."""
    for level in Search(net(), sgd, levels=1):
        holds = level.number > 0  # a full mask holds nothing and has no hooks
        assert keeps_zeros(level.optimizer, (*level.optimizer._optimizer_step_pre_hooks,)) == holds
        level.optimizer.register_step_pre_hook(lambda *_: None)
        assert not keeps_zeros(level.optimizer, (*level.optimizer._optimizer_step_pre_hooks,))
        turn(level)
