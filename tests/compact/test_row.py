"""The law of layers called together: outputs and gradients are those of the layers one by one, to rounding."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from oneticket.compact.row import by_column, join
from oneticket.compact.sparse import Sparse

ROWS: dict[str, tuple[list[nn.Module], tuple[int, ...]]] = {
    "as LeNet": (
        [nn.Flatten(), nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10)],
        (130, 1, 28, 28),
    ),
    "ReLU at the end, in place": ([nn.Linear(20, 30), nn.ReLU(inplace=True), nn.ReLU()], (77, 20)),
    "no ReLU between": ([nn.Linear(20, 30, bias=False), nn.Linear(30, 7, bias=False)], (1, 20)),
    "dropout between": ([nn.Linear(20, 30), nn.ReLU(), nn.Dropout(), nn.Linear(30, 7), nn.ReLU()], (16, 20)),
    "ReLU first": ([nn.ReLU(), nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 7)], (200, 20)),
    "more dimensions": ([nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 7)], (3, 5, 20)),
    "a dense layer too large": ([nn.Linear(20, 300), nn.ReLU(), nn.Linear(300, 120), nn.ReLU()], (64, 20)),
    "no example": ([nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 7)], (0, 20)),
    "no example of more dimensions": ([nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 7)], (0, 5, 20)),
}


@pytest.fixture(autouse=True)
def _draws() -> Iterator[None]:
    """Layers draw from the global state when they are made, and dropout when it is called."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def thinned(layers: list[nn.Module], *, dense: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
    """Layers one by one, and the same called together; linear ones at 30 %, sparse but for the last `dense`."""
    plain = nn.Sequential(*copy.deepcopy(layers))
    joined = copy.deepcopy(plain)
    linear = [name for name, layer in plain.named_children() if isinstance(layer, nn.Linear)]
    for name in linear[: len(linear) - dense]:
        layer = plain.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        remaining = torch.rand(layer.weight.shape) < 0.3
        with torch.no_grad():
            layer.weight.mul_(remaining)
        joined.set_submodule(name, Sparse(layer, remaining))
    join(joined)
    return plain, joined


def passed(net: nn.Module, x: Tensor, *, to_x: bool = True) -> tuple[Tensor, ...]:
    """Outputs, and the gradients of inputs and parameters, of sparse layers those of all weights."""
    torch.manual_seed(1)
    here = x.clone().requires_grad_(to_x)
    out = net(here)
    out.backward(torch.arange(out.numel()).view(out.shape).cos())
    return out.detach(), *([here.grad] if to_x else []), *(p.grad for p in net.parameters())  # type: ignore[misc]


def compare(plain: nn.Sequential, joined: nn.Sequential, x: Tensor, *, to_x: bool = True) -> None:
    """Fail where they differ."""
    given = zip(passed(plain, x, to_x=to_x), passed(joined, x, to_x=to_x), strict=True)
    remains = {id(layer.weight.grad): layer.weight != 0 for layer in plain if isinstance(layer, nn.Linear)}
    for one, other in given:
        theirs = one[remains[id(one)]] if one.shape != other.shape else one
        torch.testing.assert_close(other, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("to_x", [True, False])
@pytest.mark.parametrize("dense", [0, 1])
@pytest.mark.parametrize("name", ROWS)
def test_together_they_are_what_they_are_one_by_one(name: str, dense: int, to_x: bool) -> None:
    layers, shape = ROWS[name]
    plain, joined = thinned(layers, dense=dense)
    compare(plain, joined, torch.randn(shape), to_x=to_x)


def test_frozen_layers_get_no_gradient_and_pass_it_on() -> None:
    plain, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)])
    for net in (plain, joined):
        net[2].requires_grad_(False)
        net(torch.ones(3, 6)).sum().backward()
    assert joined[2].weight.grad is None
    torch.testing.assert_close(joined[0].bias.grad, plain[0].bias.grad)
    for net in (plain, joined):
        net.zero_grad()
        net[0].requires_grad_(False)
        net(torch.ones(3, 6)).sum().backward()
    assert joined[0].weight.grad is None
    torch.testing.assert_close(joined[4].bias.grad, plain[4].bias.grad)


def test_hooks_see_every_layer() -> None:
    plain, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)])
    x, seen = torch.randn(3, 6), list[Tensor]()
    with torch.no_grad():
        expected = plain(x)
        for net in (plain, joined):
            handle = net[1].register_forward_hook(lambda _, given, out: seen.extend((given[0].clone(), out)))
            torch.testing.assert_close(net(x), expected)
            handle.remove()
        torch.testing.assert_close(seen[:2], seen[2:])
        handle = nn.modules.module.register_module_forward_hook(lambda layer, *_: seen.append(layer))
        joined(x)
        handle.remove()
    assert seen[4:] == [*joined, joined]


def test_a_forward_of_its_own_is_called() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)])
    x = torch.randn(3, 6)
    joined[1].forward = torch.tanh
    torch.testing.assert_close(joined(x), joined[2](joined[0](x).tanh()))
    joined.forward = torch.neg
    join(joined)
    assert torch.equal(joined(x), -x)


def test_a_layer_that_is_replaced_is_called() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)])
    joined[1] = nn.Tanh()
    x = torch.randn(3, 6)
    torch.testing.assert_close(joined(x), joined[2](joined[0](x).tanh()))
    joined[2] = nn.Linear(7, 4)
    with pytest.raises(RuntimeError, match="shapes"):
        joined(x)


def test_nan_passes_a_relu_and_its_gradient() -> None:
    _, joined = thinned([nn.Linear(1, 1), nn.ReLU()])
    joined[0] = Sparse(nn.Linear(1, 1), torch.ones(1, 1, dtype=torch.bool))
    x = torch.tensor([[float("nan")]], requires_grad=True)
    out = joined(x)
    out.backward()
    assert out.isnan() and x.grad.item() == joined[0].weight.item()


def test_under_autocast_each_layer_is_called_by_itself() -> None:
    plain, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)], dense=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert joined(torch.ones(3, 6)).dtype == plain(torch.ones(3, 6)).dtype == torch.bfloat16


def test_a_copy_calls_its_own_layers() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)])
    x = torch.randn(3, 6)
    other, before = copy.deepcopy(nn.ModuleList([joined]))[0], joined(x)
    with torch.no_grad():
        for weight in joined.parameters():
            weight.zero_()
    torch.testing.assert_close(other(x), before)
    assert other.forward is not joined.forward


def test_a_shallow_copy_outlives_the_network() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU()])
    x, other = torch.randn(3, 6), copy.copy(joined)
    before = joined(x)
    del joined
    assert torch.equal(other(input=x), before)


def test_defaults_of_torch_change_nothing() -> None:
    plain, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)])
    x = torch.randn(70, 6)
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            with torch.device("meta"):
                found = joined(x)
                grads = torch.autograd.grad(found.square().sum(), [*joined.parameters()])
        finally:
            torch.set_default_dtype(torch.float32)
        torch.testing.assert_close(found, plain(x))
        again = torch.autograd.grad(joined(x).square().sum(), [*joined.parameters()])
        torch.testing.assert_close(grads, again)


def test_saved_tensors_may_be_laid_out_otherwise() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)])
    x = torch.randn(70, 6)
    expected = torch.autograd.grad(joined(x).square().sum(), [*joined.parameters()])
    with torch.autograd.graph.saved_tensors_hooks(lambda one: one.clone().t().contiguous().t(), lambda one: one):
        out = joined(x)
    torch.testing.assert_close(torch.autograd.grad(out.square().sum(), [*joined.parameters()]), expected)


def test_a_second_derivative_is_refused_though_the_gradient_is_a_constant() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)], dense=1)
    x = torch.randn(3, 6, requires_grad=True)
    out = joined(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="sparse layers have no second derivatives"):
        (out.square().mean() + slope.square().sum()).backward()


def test_which_networks_read_their_inputs_by_column() -> None:
    layers = [nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)]
    plain, joined = thinned(layers)
    first, last = thinned(layers, dense=2)[1], thinned([nn.ReLU(), *layers])[1]
    assert [by_column(net) for net in (plain, joined, first, last, joined[1])] == [False, True, False, False, False]


def test_nothing_keeps_it_alive() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU()])
    joined(torch.ones(2, 6)).sum().backward()
    gone = weakref.ref(joined)
    gc.disable()
    try:
        del joined
        assert gone() is None
    finally:
        gc.enable()


def test_what_the_kernels_cannot_read_is_refused() -> None:
    _, joined = thinned([nn.Linear(6, 5), nn.ReLU()])
    with pytest.raises(ValueError, match="expected float32 on the CPU, got torch.float64"):
        joined.double()(torch.ones(2, 6))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 6\), got \(2, 5\)"):
        joined.float()(torch.ones(2, 5))
    joined[0].bias = nn.Parameter(torch.ones(4))
    with pytest.raises(ValueError, match=r"expected a bias of 5 numbers, got \(4,\)"):
        joined(torch.ones(2, 6))


def test_a_bias_may_be_every_second_number_of_another_tensor() -> None:
    plain, joined = thinned([nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)], dense=1)
    some = torch.randn(8)
    for net in (plain, joined):
        net[2].bias = nn.Parameter(some[::2])
    compare(plain, joined, torch.randn(3, 6))


def test_it_gives_the_same_bits_again() -> None:
    _, joined = thinned(ROWS["as LeNet"][0])
    x = torch.randn(128, 1, 28, 28)
    first = [each.clone() for each in passed(joined, x)]
    joined.zero_grad(set_to_none=True)
    assert all(torch.equal(one, other) for one, other in zip(first, passed(joined, x), strict=True))
