"""A search in somebody's own loop that trains smaller networks finds the ticket that it finds without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from loops import data, net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oneticket.compact import choose
from oneticket.ground.errors import GuardError, SpecError
from oneticket.lottery.level import Level
from oneticket.lottery.loop_search import Search
from oneticket.ticket.book import Book

LENGTH, LEVELS = 9, 4
SETTINGS: dict[str, Any] = {"levels": LEVELS, "rewind": "2it", "fraction": 0.45, "scope": "layerwise"}


def model(dtype: torch.dtype = torch.float64) -> nn.Module:
    return net(norm=True, width=24).to(dtype)


def inputs(step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    x, labels = data(step)
    return x.to(dtype), labels


def momentum(one: nn.Module) -> Any:
    return torch.optim.SGD(one.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def adam(one: nn.Module) -> Any:
    optimizer = torch.optim.AdamW(one.parameters(), lr=0.01)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 4)


def groups(one: nn.Module) -> Any:
    norms = [p for p in one.parameters() if p.dim() < 2]
    rest = [p for p in one.parameters() if p.dim() > 1]
    return torch.optim.SGD([{"params": norms, "weight_decay": 0}, {"params": rest, "weight_decay": 1e-2}], lr=0.1)


def two(one: nn.Module) -> Any:
    body, last = [*one[:-1].parameters()], [*one[-1].parameters()]  # type: ignore[index]
    return [torch.optim.Adam(body, lr=0.01), torch.optim.SGD(last, lr=0.1)]


def train(level: Level, start: int, stop: int, dtype: torch.dtype = torch.float64) -> None:
    optimizers = level.optimizer if isinstance(level.optimizer, list) else [level.optimizer]
    for step in range(start, stop):
        x, labels = inputs(step, dtype)
        for one in optimizers:
            one.zero_grad()
        cross_entropy(level.network(x), labels).backward()
        nn.utils.clip_grad_norm_(level.network.parameters(), 1.0)
        for one in optimizers:
            one.step()
        if level.scheduler is not None:
            level.scheduler.step()


def search(optimizer_fn: Callable[[nn.Module], Any], *, compact: bool, dtype: torch.dtype = torch.float64) -> Search:
    return Search(model(dtype), optimizer_fn, example=inputs(0, dtype)[0], compact=compact, **SETTINGS)


def found(optimizer_fn: Callable[[nn.Module], Any], *, compact: bool, dtype: torch.dtype = torch.float64) -> Book:
    one = search(optimizer_fn, compact=compact, dtype=dtype)
    for level in one:
        train(level, level.start, LENGTH, dtype)
        if not compact or level.number == 0:
            assert level.network is level.model
        elif level.number == LEVELS and optimizer_fn not in (groups, two):
            assert level.network is not level.model
            shapes = {name: value.numel() for name, value in level.network.named_parameters()}
            assert sum(shapes.values()) < sum(value.numel() for value in level.model.parameters())
            assert {*shapes} - {"orphans"} == {name for name, _ in level.model.named_parameters()}
    return one.book


@pytest.mark.parametrize("optimizer_fn", [momentum, adam, groups, two])
def test_without_units_that_cannot_reach_the_loss_it_finds_the_same_ticket(
    optimizer_fn: Callable[[nn.Module], Any],
) -> None:
    """In float64, where rounding turns no two weights round."""
    small, whole = found(optimizer_fn, compact=True), found(optimizer_fn, compact=False)
    assert [small.mask(level) for level in range(LEVELS + 1)] == [whole.mask(level) for level in range(LEVELS + 1)]
    assert small == whole
    assert small.records == whole.records


def test_with_sparse_layers_it_finds_the_same_ticket_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "worth", lambda *_: 0.5)
    monkeypatch.setattr(choose, "SMALLEST", 1)
    small, whole = (found(momentum, compact=compact, dtype=torch.float32) for compact in (True, False))
    assert small.densities == whole.densities
    assert all(torch.equal(value, whole.weights[name]) for name, value in small.weights.items())  # of a dense level 0
    for name, living in small.mask(LEVELS).items():
        assert (living != whole.mask(LEVELS)[name]).sum() <= 2


@pytest.fixture
def opened() -> Iterator[Callable[..., tuple[Search, Level]]]:
    """Gives a search within a level, three steps in, which stays open until the test ends."""
    levels = []

    def opened(number: int, *, compact: bool) -> tuple[Search, Level]:
        one = search(momentum, compact=compact)
        levels.append(iter(one))
        for level in levels[-1]:
            if level.number == number:
                train(level, level.start, level.start + 3)
                return one, level
            train(level, level.start, LENGTH)
        raise AssertionError(number)

    yield opened
    levels.clear()


Opened = Callable[..., tuple[Search, Level]]


def test_the_model_and_the_optimizer_show_their_own_names_shapes_and_addresses_within_a_level(opened: Opened) -> None:
    _, small = opened(3, compact=True)
    _, whole = opened(3, compact=False)
    assert small.network is not small.model
    addresses = {name: value.data_ptr() for name, value in small.model.named_parameters()}
    mine, theirs = small.model.state_dict(), whole.model.state_dict()
    assert [*mine] == [*theirs]
    assert {name: mine[name].data_ptr() for name in addresses} == addresses
    for name in addresses:
        torch.testing.assert_close(mine[name], theirs[name])
    states = small.optimizer.state_dict(), whole.optimizer.state_dict()  # type: ignore[union-attr]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    torch.testing.assert_close(states[0]["state"], states[1]["state"])
    x = inputs(50, torch.float64)[0]
    small.network.eval()
    small.model.eval()
    with torch.no_grad():  # shows what was trained by now, unasked
        torch.testing.assert_close(small.model(x), small.network(x))
    copied = deepcopy(small.model)
    assert all(torch.equal(value, mine[name]) for name, value in copied.state_dict().items())


@pytest.mark.parametrize("within", [False, True], ids=["before the loop", "within the level"])
@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True)], ids=str)
@pytest.mark.parametrize("number", [0, 3])
def test_a_checkpoint_goes_on_with_and_without_a_smaller_network(
    number: int, before: bool, after: bool, within: bool, opened: Opened
) -> None:
    straight = found(momentum, compact=False)
    first, level = opened(number, compact=before)
    saved = deepcopy({"search": first.state_dict(), "optimizer": level.optimizer.state_dict()})  # type: ignore[union-attr]
    saved["model"] = deepcopy(level.model.state_dict())
    other = search(momentum, compact=after)
    other.load_state_dict(saved["search"])
    if not within:
        other.model.load_state_dict(saved["model"])
    for level in other:
        if level.number == number:
            if within:
                level.model.load_state_dict(saved["model"])
            level.optimizer.load_state_dict(saved["optimizer"])  # type: ignore[union-attr]
            assert level.steps == 3
        train(level, level.start + level.steps, LENGTH)
    assert other.book == straight


class Mine(torch.optim.SGD):
    """Nobody knows what it does with entries."""


def hooked() -> nn.Module:
    one = model()
    one.register_forward_hook(lambda *_: None)
    return one


@pytest.mark.parametrize(
    ("made", "optimizer_fn", "example", "error", "words"),
    [
        (model, momentum, None, SpecError, "example: compact=True needs a whole batch .* got NoneType"),
        (model, momentum, {"x": torch.ones(2, 6)}, SpecError, "got dict"),
        (model, lambda net: Mine(net.parameters(), lr=0.1), inputs(0, torch.float64)[0], GuardError, "Mine: a smaller"),
        (hooked, momentum, inputs(0, torch.float64)[0], GuardError, "has hooks or parametrizations"),
        (lambda: nn.DataParallel(model()), momentum, inputs(0, torch.float64)[0], GuardError, "in a wrapper"),
    ],
    ids=["no example", "no tensor", "optimizer", "hooks", "wrapper"],
)
def test_what_cannot_be_made_smaller_is_refused_before_level_0_is_trained(
    made: Callable[[], nn.Module], optimizer_fn: Any, example: object, error: type[Exception], words: str
) -> None:
    one = made()
    before = deepcopy(one.state_dict())
    with pytest.raises(error, match=words):
        next(iter(Search(one, optimizer_fn, example=example, compact=True, **SETTINGS)))
    assert all(torch.equal(before[name], value) for name, value in one.state_dict().items())


def test_a_backward_pass_through_the_model_in_place_of_the_network_trains_the_same() -> None:
    straight = found(momentum, compact=False)
    one = search(momentum, compact=True)
    for level in one:
        level.network = level.model  # a loop that never heard of it
        train(level, level.start, LENGTH)
    assert [one.book.mask(level) for level in range(LEVELS + 1)] == [
        straight.mask(level) for level in range(LEVELS + 1)
    ]
    assert one.book == straight


def test_optimizers_that_are_attached_later_and_twice_train_the_same() -> None:
    straight = found(momentum, compact=False)
    one = search(None, compact=True)  # type: ignore[arg-type]
    for level in one:
        optimizer = momentum(level.model)
        level.attach(optimizer)
        train(level, level.start, 4)
        level.attach(optimizer)
        train(level, 4, LENGTH)
    assert one.book == straight
