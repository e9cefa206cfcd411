"""Compact training in somebody's own loop: the model's own weights, as under a guard, for every optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tables import MODELS
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy

from oneticket.compact import choose
from oneticket.compact.in_loop import Compacted
from oneticket.ground.errors import GuardError
from oneticket.guard.guard import attach
from oneticket.guard.narrow import sliced
from oneticket.guard.optimizer_state import ELEMENTWISE
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask

pytestmark = pytest.mark.convolutions

SHAPE, COUNT, STEPS = (3, 16, 16), 12, 4
Made = Callable[[nn.Module], Any]


def decayed(kind: Any) -> Made:
    return lambda net: kind(net.parameters(), lr=0.01, weight_decay=1e-2)


def two_groups(net: nn.Module) -> Any:
    wide: dict[str, Any] = {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": 0.1}
    return optim.SGD([wide, {"params": [p for p in net.parameters() if p.dim() <= 1]}], lr=0.05, momentum=0.9)


def two_optimizers(net: nn.Module) -> Any:
    weights = [p for name, p in net.named_parameters() if "weight" in name]
    rest = [p for name, p in net.named_parameters() if "weight" not in name]
    return [optim.AdamW(weights, lr=0.01), optim.SGD(rest, lr=0.05)]


KINDS: dict[str, Made] = {
    **{kind.__name__: decayed(kind) for kind in sorted(ELEMENTWISE, key=lambda kind: kind.__name__)},
    "sgd momentum": lambda net: optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "adam fused": lambda net: optim.Adam(net.parameters(), lr=0.01, fused=True),
    "two groups": two_groups,
    "two optimizers": two_optimizers,
}


def network(name: str) -> nn.Module:
    made = build(MODELS[name], inputs=Inputs(shape=SHAPE), outputs=10, seed=0)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def half(model: nn.Module, density: float = 0.3) -> Mask:
    """Some weights at random, and half of every layer's inputs read by nobody."""
    generator = torch.Generator().manual_seed(1)
    remaining = {
        name: torch.rand(model.get_parameter(name).shape, generator=generator) < density for name in prunable(model)
    }
    for lives in remaining.values():
        lives[:, : lives.shape[1] // 2] = False
    return Mask(remaining)


def x() -> Tensor:
    return torch.randn(COUNT, *SHAPE, generator=torch.Generator().manual_seed(5))


def drive(net: nn.Module, optimizer: Any) -> None:
    """A loop of somebody's own, with clipping."""
    optimizers = optimizer if isinstance(optimizer, list) else [optimizer]
    with sliced(net):
        for _ in range(STEPS):
            for one in optimizers:
                one.zero_grad()
            cross_entropy(net(x()), torch.arange(COUNT) % 10).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            for one in optimizers:
                one.step()


@pytest.fixture(params=[0.0, 0.5], ids=["units alone", "sparse layers"])
def sparse_below(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Which layers are sparse, whatever this machine would choose."""
    monkeypatch.setattr(choose, "worth", lambda *_: request.param)
    monkeypatch.setattr(choose, "SMALLEST", 1)
    return float(request.param)


@pytest.mark.filterwarnings("ignore:.*oneDNN")
@pytest.mark.parametrize("name", ["lenet", "conv-2", "resnet-20"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_equals_that_under_a_guard_in_the_models_own_tensors(
    kind: str, name: str, sparse_below: float
) -> None:
    """To rounding, and to the bit at pruned weights; names and addresses are the model's own."""
    if name != "lenet" and kind not in ("SGD", "Adam", "two groups"):
        pytest.skip("optimizers are told apart on one network")
    model = network(name)
    masked, mask, made = copy.deepcopy(model), half(model), KINDS[kind]
    keys = [*model.state_dict()]
    addresses = [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    optimizers = []
    for net in (masked, model):
        optimizers.append(made(net))
        drive(net, optimizers[-1])  # moments are taken over from before
    with attach(masked, optimizers[0], mask):
        drive(masked, optimizers[0])
    with Compacted(model, optimizers[1], mask, example=x()) as small:
        one_group = kind not in ("two groups", "two optimizers")
        assert bool(small.compact.removed) == (one_group and bool(small.compact.cuts))
        assert ("sparse" in small.compact.forms.values()) == bool(sparse_below)
        assert {name for name, _ in small.network.named_parameters()} - {"orphans"} == {
            name for name, _ in model.named_parameters()
        }
        drive(small.network, optimizers[1])
        small.audit()
        state = copy.deepcopy(model.state_dict())
    assert [*state] == [*model.state_dict()] == keys
    assert addresses == [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    for key, value in masked.named_parameters():
        torch.testing.assert_close(model.get_parameter(key), value, rtol=1e-3, atol=1e-4)
    states = [one.state_dict() for each in optimizers for one in (each if isinstance(each, list) else [each])]
    for one, other in zip(states[: len(states) // 2], states[len(states) // 2 :], strict=True):
        assert one["param_groups"] == other["param_groups"]
        for number, state in one["state"].items():
            for key, value in state.items():
                mine = other["state"][number][key]
                assert (
                    torch.as_tensor(mine if mine is not None else 0).shape
                    == torch.as_tensor(value if value is not None else 0).shape
                )
                if isinstance(value, Tensor):
                    torch.testing.assert_close(mine, value, rtol=1e-2, atol=1e-3)
    for key, lives in mask.items():
        pruned = model.get_parameter(key).detach()[~lives]
        assert not pruned.any()
        assert not torch.signbit(pruned).any()


class Mine(optim.SGD):
    """Nobody knows what it does with entries."""


def hooked(model: nn.Module) -> nn.Module:
    model.register_forward_hook(lambda *_: None)
    return model


REFUSED: dict[str, tuple[Callable[[nn.Module], Any], Made, str]] = {
    "an optimizer of somebody's own": (
        lambda model: model,
        lambda net: Mine(net.parameters(), lr=0.1),
        "known of torch's Adadelta, Adagrad, Adam, AdamW, NAdam, RAdam, RMSprop, SGD; use attach",
    ),
    "an optimizer of another network": (
        lambda model: model,
        lambda net: optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1),
        "no optimizer has",
    ),
    "hooks": (
        hooked,
        lambda net: optim.SGD(net.parameters(), lr=0.1),
        "cannot be made smaller: .* has hooks or parametrizations; use attach",
    ),
    "DataParallel": (nn.DataParallel, lambda net: optim.SGD(net.parameters(), lr=0.1), "in a wrapper .* use attach"),
    "torch.compile": (
        lambda model: torch.compile(model, backend="eager"),
        lambda net: optim.SGD(net.parameters(), lr=0.1),
        "in a wrapper",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_made_smaller_is_refused_with_the_reason_and_nothing_is_touched(what: str) -> None:
    wrap, made, said = REFUSED[what]
    inner = network("lenet")
    mask, before = half(inner), {name: value.clone() for name, value in inner.state_dict().items()}
    with pytest.raises(GuardError, match=said):
        Compacted(wrap(inner), made(inner), mask, example=x())
    assert all(torch.equal(before[name], value) for name, value in inner.state_dict().items())


def test_what_was_trained_is_in_the_model_after_an_error_too() -> None:
    model = network("lenet")
    mask, before = half(model), model.get_parameter("fc1.weight").detach().clone()
    optimizer = KINDS["SGD"](model)

    def loop() -> None:
        with Compacted(model, optimizer, mask, example=x()) as small:
            drive(small.network, optimizer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    drive(model, optimizer)
    assert not torch.equal(before, model.get_parameter("fc1.weight"))


def small_net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Dropout(0.3), nn.ReLU(), nn.Linear(9, 2))


THIRDS = {"4.weight": torch.tensor([[True, False, True] * 3] * 2)}
ROWS = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))

LOOPS: dict[str, tuple[Callable[[nn.Module], object], Callable[[Any], object]]] = {
    "evaluated before, model.train()": (lambda net: net.eval(), lambda net: net.train()),
    "model.eval()": (lambda net: net.train(), lambda net: net.eval()),
    "a layer's eval()": (lambda net: net.train(), lambda net: net[1].eval()),
    "a layer's train()": (lambda net: net.eval(), lambda net: net[2].train()),
    "model.zero_grad()": (lambda net: net.train(), lambda net: net.zero_grad()),
    "a layer's zero_grad()": (lambda net: net.train(), lambda net: net[0].zero_grad(set_to_none=False)),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_what_the_loop_tells_the_model_the_network_does(loop: str) -> None:
    before, each_step = LOOPS[loop]
    masked, model = small_net(), small_net()
    for net in (masked, model):
        before(net)
        optimizer = KINDS["sgd momentum"](net)
        with (
            torch.random.fork_rng(),
            attach(net, optimizer, THIRDS) if net is masked else Compacted(net, optimizer, THIRDS, example=ROWS) as it,
        ):
            torch.manual_seed(4)
            stepped = it.network if isinstance(it, Compacted) else net
            assert (stepped is net) == (net is masked)
            for _ in range(3):
                each_step(net)
                stepped(ROWS).square().sum().backward()
                optimizer.step()
        assert not {"train", "zero_grad"} & {name for module in net.modules() for name in vars(module)}
    assert [module.training for module in model.modules()] == [module.training for module in masked.modules()]
    for key, value in masked.named_parameters():
        torch.testing.assert_close(model.get_parameter(key), value, rtol=1e-4, atol=1e-5)
    assert model[1].num_batches_tracked == masked[1].num_batches_tracked


def test_a_copy_of_the_model_has_what_was_trained_and_its_own_methods() -> None:
    model = small_net()
    optimizer = KINDS["SGD"](model)
    with torch.random.fork_rng(), Compacted(model, optimizer, THIRDS, example=ROWS) as small:
        small.network(ROWS).square().sum().backward()
        optimizer.step()
        for copied in (copy.deepcopy(model), copy.deepcopy(copy.deepcopy(model))):
            assert not {"train", "zero_grad", "__deepcopy__"} & {
                name for name, value in vars(copied).items() if getattr(value, "__self__", copied) is not copied
            }
            copied(ROWS).sum().backward()
            copied.eval()
            copied.zero_grad()
            assert all(one.grad is None for one in copied.parameters())
            assert any(one.grad is not None for one in small.network.parameters())
            assert not any(module.training for module in copied.modules())
            assert all(module.training for each in (model, small.network) for module in each.modules())
            for name, value in copied.named_parameters():
                assert torch.equal(value, model.get_parameter(name))
        assert torch.equal(small.compact.smaller("0.weight", copied[0].weight), small.network.get_parameter("0.weight"))
    assert "__deepcopy__" not in vars(model)


CHANGES: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "frozen": (lambda model, _: model[0].requires_grad_(False), "0.bias, 0.weight: requires_grad was changed"),
    "added": (
        lambda model, sgd: sgd.add_param_group({"params": [model[0].weight]}),
        "0.weight: added to the optimizer",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_model_that_no_step_would_follow_is_refused_at_the_step(change: str) -> None:
    act, words = CHANGES[change]
    model = small_net()
    optimizer = KINDS["SGD"](model)
    with torch.random.fork_rng(), Compacted(model, optimizer, THIRDS, example=ROWS) as small:
        act(model, optimizer)
        small.network(ROWS).sum().backward()
        with pytest.raises(GuardError, match=words):
            optimizer.step()


def test_a_full_mask_trains_the_model_itself() -> None:
    model = network("lenet")
    with Compacted(
        model, KINDS["SGD"](model), Mask.full({"fc1.weight": model.get_parameter("fc1.weight")}), example=x()
    ) as one:
        assert one.network is model
        assert str(one) == "as it stands, masked"
        one.audit()
