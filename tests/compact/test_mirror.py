"""What a loop does with the model's own tensors while a smaller network trains: values as in plain masked training."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from oneticket.compact import choose
from oneticket.compact.in_loop import Compacted
from oneticket.ground.errors import GuardError
from oneticket.guard.guard import attach

COMPILED = "torch.compile cannot follow a smaller network"
ROWS = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))
MASK = {
    "0.weight": torch.rand(9, 6, generator=torch.Generator().manual_seed(3)) < 0.4,
    "4.weight": torch.tensor([[True, False, True] * 3] * 2),
    "6.weight": torch.tensor([[True, False]] * 2),
}


@pytest.fixture(autouse=True, params=[0.0, 0.5], ids=["units alone", "sparse layers"])
def _sparse_below(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(choose, "worth", lambda *_: request.param)
    monkeypatch.setattr(choose, "SMALLEST", 1)
    with torch.random.fork_rng():
        yield


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Linear(6, 9),
            nn.BatchNorm1d(9),
            nn.Dropout(0.3),
            nn.ReLU(),
            nn.Linear(9, 2),
            nn.Tanh(),
            nn.Linear(2, 2),
        )
    with torch.no_grad():
        for name, remaining in MASK.items():
            made.get_parameter(name).mul_(remaining)
    return made


class Loop:
    """One side: the model, what is called, the optimizer, and whatever a loop keeps beside."""

    def __init__(self, model: Any, held: Any, optimizer: Any) -> None:
        self.model, self.optimizer, self.seen = model, optimizer, list[Any]()
        self.held = held
        self.early: list[nn.Parameter] = [*model.parameters()]
        self.kept: Any = None

    @property
    def called(self) -> Any:
        return self.held.network if isinstance(self.held, Compacted) else self.model

    def loss(self) -> Tensor:
        return (self.called(ROWS) - 1).square().sum()

    def note(self, *values: Any) -> None:
        self.seen += [value.detach().clone() if isinstance(value, Tensor) else value for value in values]


def plain(loop: Loop) -> None:
    loop.optimizer.zero_grad()
    loop.loss().backward()
    loop.optimizer.step()


def between(act: Callable[[Loop], object]) -> Callable[[Loop], None]:
    """A step in which something happens between the backward pass and the optimizer's step."""

    def step(loop: Loop) -> None:
        loop.optimizer.zero_grad()
        loop.loss().backward()
        act(loop)
        loop.optimizer.step()

    return step


def after(act: Callable[[Loop], object]) -> Callable[[Loop], None]:
    """A step, and then something."""

    def step(loop: Loop) -> None:
        plain(loop)
        act(loop)

    return step


def penalised(of: Callable[[Loop], Tensor]) -> Callable[[Loop], None]:
    """A step whose loss is more than the network's outputs."""

    def step(loop: Loop) -> None:
        loop.optimizer.zero_grad()
        (loop.loss() + of(loop)).backward()
        loop.optimizer.step()

    return step


def scaled(loop: Loop) -> None:
    scaler = loop.kept = loop.kept or torch.amp.GradScaler("cpu", init_scale=16.0)
    loop.optimizer.zero_grad()
    scaler.scale(loop.loss()).backward()
    loop.note(loop.model[0].weight.grad)  # shown before, and again after what torch does not count
    scaler.unscale_(loop.optimizer)
    loop.note(loop.model[0].weight.grad, nn.utils.clip_grad_norm_(loop.model.parameters(), 0.5))
    scaler.step(loop.optimizer)
    scaler.update()


def noisy(loop: Loop) -> None:
    for number, parameter in enumerate(loop.model.parameters()):
        assert parameter.grad is not None
        parameter.grad.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)), alpha=0.01)
        parameter.grad.data.mul_(0.5)
        parameter.grad += 0.001 * parameter.data


def averaged(loop: Loop) -> None:
    loop.kept = loop.kept or AveragedModel(loop.model, use_buffers=True)
    loop.kept.update_parameters(loop.model)
    loop.note(*loop.kept.state_dict().values())


def own_average(loop: Loop) -> None:
    loop.kept = loop.kept or {name: p.clone().detach() for name, p in loop.model.named_parameters()}
    with torch.no_grad():
        for name, p in loop.model.named_parameters():
            loop.kept[name].mul_(0.9).add_(p, alpha=0.1)
    loop.note(*loop.kept.values())


def second(make: Callable[[Any], Any]) -> Callable[[Loop], None]:
    def step(loop: Loop) -> None:
        loop.kept = loop.kept or make(loop.model)
        loop.optimizer.zero_grad()
        loop.loss().backward()
        loop.optimizer.step()
        loop.kept.step()

    return step


def clamped(loop: Loop) -> None:
    for parameter in loop.model.parameters():
        parameter.data.clamp_(-0.3, 0.3)


def zeroed_row(loop: Loop) -> None:
    with torch.no_grad():
        loop.model[0].weight[2] = 0
        loop.model[4].weight[0].mul_(0.5)
        loop.model[1].running_mean[1] = 0.25


def vectors(loop: Loop) -> None:
    vector = nn.utils.parameters_to_vector(loop.model.parameters())
    loop.note(vector)
    nn.utils.vector_to_parameters(vector * 0.9, loop.model.parameters())


def loaded_layer(loop: Loop) -> None:
    loop.kept = loop.kept or copy.deepcopy(loop.model[0].state_dict())
    loop.model[0].load_state_dict(loop.kept)


def saved_whole(loop: Loop) -> None:
    buffer = io.BytesIO()
    torch.save(loop.model, buffer)  # noqa: TID251 - what a loop may do
    buffer.seek(0)
    other = torch.load(buffer, weights_only=False)  # noqa: TID251
    assert {type(p) for p in other.parameters()} == {nn.Parameter}
    assert {type(b) for b in other.buffers()} == {Tensor}
    loop.note(*other.state_dict().values(), other.eval()(ROWS))


def settings(loop: Loop) -> None:
    loop.model[2].p = max(0.0, loop.model[2].p - 0.1)
    loop.model[1].momentum = 0.3
    plain(loop)


def modes(loop: Loop) -> None:
    for training in (False, True):
        loop.model[1].training = training
        plain(loop)


def through_the_model(loop: Loop) -> None:
    loop.optimizer.zero_grad()
    (loop.model(ROWS) - 1).square().sum().backward()
    loop.optimizer.step()


def skipped(loop: Loop) -> None:
    """A step that is not made after its gradients were clipped."""
    loop.optimizer.zero_grad()
    loop.loss().backward()
    nn.utils.clip_grad_norm_(loop.model.parameters(), 0.1)
    loop.optimizer.zero_grad(set_to_none=False)
    plain(loop)


def accumulated(loop: Loop) -> None:
    loop.optimizer.zero_grad()
    loop.loss().backward()
    nn.utils.clip_grad_value_(loop.model.parameters(), 0.05)
    loop.loss().backward()
    loop.optimizer.step()


def replaced(loop: Loop) -> None:
    for parameter in loop.model.parameters():
        assert parameter.grad is not None
        parameter.grad = parameter.grad.clone() * 0.5


def none(loop: Loop) -> None:
    for parameter in loop.model.parameters():
        parameter.grad = None


def squares(loop: Loop) -> Tensor:
    return sum((p.square().sum() for p in loop.model.parameters()), torch.zeros(()))


def asked(loop: Loop) -> None:
    loop.optimizer.zero_grad()
    loop.loss().backward(inputs=[*loop.model.parameters()])
    loop.note(loop.model[0].weight.grad)
    loop.optimizer.step()


def given(loop: Loop) -> None:
    """Gradients by the model's parameters, of which a guard does not make those of pruned weights zero."""
    loop.optimizer.zero_grad()
    named = dict(loop.model.named_parameters())
    found = torch.autograd.grad(loop.loss(), [*named.values()])
    for (name, parameter), gradient in zip(named.items(), found, strict=True):
        parameter.grad = gradient * MASK[name] if name in MASK else gradient
        loop.note(parameter.grad)
    if isinstance(loop.held, Compacted):
        assert all((found[[*named].index(name)][~remaining] == 0).all() for name, remaining in MASK.items())
    loop.optimizer.step()


def flat_minimum(loop: Loop) -> None:
    """The norm of the gradient is in the loss."""
    loop.optimizer.zero_grad()
    found = torch.autograd.grad(loss := loop.loss(), [loop.model[6].bias], create_graph=True)
    (loss + 1e-3 * sum(each.square().sum() for each in found)).backward()
    loop.optimizer.step()


def distributed(module: nn.Module, use: Callable[[nn.Module], object]) -> None:
    """Use it in DistributedDataParallel, in a group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        use(nn.parallel.DistributedDataParallel(module))
    finally:
        GROUPS.append(dist.group.WORLD)
        dist.destroy_process_group()


GROUPS: list[object] = []
"""Groups that were used, kept: a group that is dropped waits for its thread, which may wait for the interpreter to drop
a tensor. torch then waits forever (seen once in many runs)."""


def wrapped(loop: Loop) -> None:
    """Several steps of what is called, in a wrapper for several processes."""

    def steps(outer: nn.Module) -> None:
        for _ in range(2):
            loop.optimizer.zero_grad()
            (outer(ROWS) - 1).square().sum().backward()
            loop.note(loop.model[0].weight.grad)
            loop.optimizer.step()

    distributed(loop.called, steps)


LOOPS: dict[str, Callable[[Loop], object]] = {
    "backward by the model's parameters": asked,
    "gradients by the model's parameters": given,
    "gradients in the loss": flat_minimum,
    "DistributedDataParallel": wrapped,
    "clip_grad_norm_": between(lambda loop: loop.note(nn.utils.clip_grad_norm_(loop.model.parameters(), 0.5))),
    "clip_grad_norm_, foreach": between(lambda loop: nn.utils.clip_grad_norm_(loop.early, 0.5, foreach=True)),
    "clip_grad_norm_ of a list from before": between(lambda loop: nn.utils.clip_grad_norm_(loop.early, 0.5)),
    "clip_grad_value_": between(lambda loop: nn.utils.clip_grad_value_(loop.model.parameters(), 0.02)),
    "gradients are logged": between(
        lambda loop: loop.note(*(p.grad for p in loop.model.parameters()), loop.model[4].weight.grad.norm())
    ),
    "gradients are written": between(noisy),
    "gradients are replaced": between(replaced),
    "gradients are none": between(none),
    "gradients are clipped, and dropped": skipped,
    "gradients are clipped, and added to": accumulated,
    "a GradScaler, and clipping": scaled,
    "weight decay in the loss": penalised(lambda loop: 0.01 * squares(loop)),
    "a layer's weights in the loss": penalised(
        lambda loop: 0.1 * loop.model[0].weight.norm() + loop.early[4].abs().sum()
    ),
    "views of weights in the loss": penalised(
        lambda loop: (loop.model[0].weight.T @ loop.model[0].weight).sum() * 0.01
    ),
    "AveragedModel": after(averaged),
    "an average of its own": after(own_average),
    "values are logged": after(
        lambda loop: loop.note(*loop.model.parameters(), *loop.model.buffers(), *loop.early, loop.model[1].running_mean)
    ),
    "a layer's state_dict": after(lambda loop: loop.note(*loop.model[0].state_dict().values())),
    "vectors": after(vectors),
    "a second optimizer": second(lambda model: optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)),
    "a second optimizer, fused": second(lambda model: optim.SGD(model.parameters(), lr=0.05, fused=True)),
    "a second optimizer, foreach": second(lambda model: optim.Adam(model[4].parameters(), lr=0.01, foreach=True)),
    "a second optimizer, LBFGS": second(lambda model: _closing(optim.LBFGS(model.parameters(), lr=0.01, max_iter=1))),
    "weights are clamped": after(clamped),
    "weights are written": after(zeroed_row),
    "a layer is loaded": after(loaded_layer),
    "the model is saved whole": after(saved_whole),
    "settings change": settings,
    "modes are set": modes,
    "the model itself is trained": through_the_model,
    "the model is evaluated": after(lambda loop: loop.note(copy.deepcopy(loop.model).eval()(ROWS))),
    "a layer is initialised": after(lambda loop: nn.init.constant_(loop.model[6].bias, 0.5)),
    "the model calls in training": after(lambda loop: loop.note(_seeded(loop.model))),
    "a layout is asked for": after(lambda loop: loop.model.to(memory_format=torch.contiguous_format)),
}


def _closing(optimizer: Any) -> Any:
    step = optimizer.step
    optimizer.step = lambda: step(lambda: 0.0)
    return optimizer


def _seeded(model: nn.Module) -> Tensor:
    with torch.random.fork_rng(), torch.no_grad():
        return model(ROWS)


def trained(act: Callable[[Loop], object], *, compact: bool) -> tuple[Loop, Any]:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    loop = Loop(model, None, optimizer)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        plain(loop)  # moments are taken over from before, and gradients
        with Compacted(model, optimizer, MASK, example=ROWS) if compact else attach(model, optimizer, MASK) as held:
            loop.held = held
            for _ in range(3):
                act(loop)
            held.audit()
        loop.held = None
        plain(loop)
    return loop, optimizer.state_dict()


@pytest.mark.filterwarnings("ignore:.*oneDNN")
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_that_uses_the_models_tensors_trains_as_under_a_guard(name: str) -> None:
    one, state = trained(LOOPS[name], compact=False)
    other, mine = trained(LOOPS[name], compact=True)
    for (key, value), (_, found) in zip(one.model.state_dict().items(), other.model.state_dict().items(), strict=True):
        if "running" in key:  # of removed units it stays
            value, found = value[::3], found[::3]
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5, msg=lambda words, key=key: f"{key}: {words}")
    torch.testing.assert_close(mine["state"], state["state"], rtol=1e-3, atol=1e-4)
    assert len(one.seen) == len(other.seen)
    for value, found in zip(one.seen, other.seen, strict=True):
        if value.shape != (9,):  # statistics of removed units stay
            torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)
    for tensor in (*other.model.parameters(), *other.model.buffers()):
        assert type(tensor) in (nn.Parameter, Tensor)
        assert "_oneticket_mirror" not in vars(tensor)


def frozen(loop: Loop) -> None:
    loop.model[0].requires_grad_(False)
    plain(loop)


def hooked(loop: Loop) -> None:
    loop.model[3].register_forward_hook(lambda *_: None)
    plain(loop)


def swapped(loop: Loop) -> None:
    loop.model[6] = nn.Linear(2, 2)
    plain(loop)


def assigned(loop: Loop) -> None:
    loop.model.load_state_dict(copy.deepcopy(loop.model.state_dict()), assign=True)
    plain(loop)


def moved(loop: Loop) -> None:
    loop.model.to("meta")
    plain(loop)


def shrunk(loop: Loop) -> None:
    loop.model[6] = nn.Identity()
    plain(loop)


def late(loop: Loop) -> None:
    row = loop.model[0].weight.detach()[0]
    plain(loop)
    row.zero_()
    plain(loop)


def before(loop: Loop) -> None:
    """Backward through a graph from before the block."""
    loop.kept.backward()
    plain(loop)


def partly(loop: Loop) -> None:
    loop.optimizer.zero_grad()
    loop.loss().backward()
    loop.model[0].bias.grad = None
    loop.optimizer.step()


def again(loop: Loop) -> None:
    Compacted(loop.model, loop.optimizer, MASK, example=ROWS)


def again_within(loop: Loop) -> None:
    inner = optim.SGD(loop.model[4].parameters(), lr=0.1)
    Compacted(loop.model[4], inner, {"weight": MASK["4.weight"]}, example=torch.randn(8, 9))


REFUSED: dict[str, tuple[Callable[[Loop], object], str]] = {
    "frozen": (frozen, "0.bias, 0.weight: requires_grad was changed"),
    "hooks of modules": (hooked, "3: has hooks by now"),
    "hooks of parameters": (lambda loop: loop.model[0].weight.register_hook(print), "0.weight: .* hooks do not run"),
    "a module is replaced": (swapped, "6: replaced in Sequential"),
    "a module is gone": (shrunk, "6: replaced in Sequential"),
    "parameters are replaced": (assigned, "0.bias, 0.weight, .*: replaced in Sequential"),
    "half": (lambda loop: loop.model.half(), "0.weight: a model cannot be converted or moved"),
    "double": (lambda loop: loop.model[1].double(), "cannot be converted or moved"),
    "meta": (moved, "0.bias, 0.weight, .*: replaced in Sequential"),
    "autograd.grad, batched": (
        lambda loop: torch.autograd.grad(loop.loss(), [*loop.model.parameters()], torch.ones(2), is_grads_batched=True),
        "0.weight: is_grads_batched is not supported",
    ),
    "backward by some": (
        lambda loop: (loop.loss().backward(inputs=[loop.model[0].weight]), loop.optimizer.step()),
        "no gradient reached 0.bias, .*, but others",
    ),
    "torch.compile of the model": (lambda loop: torch.compile(loop.model, backend="eager")(ROWS), COMPILED),
    "torch.compile of the network": (lambda loop: torch.compile(loop.called, backend="eager")(ROWS), COMPILED),
    "torch.compile of a step": (lambda loop: torch.compile(plain, backend="eager")(loop), COMPILED),
    "model.compile()": (lambda loop: (loop.model.compile(backend="eager"), loop.model(ROWS)), COMPILED),
    "DistributedDataParallel of the model": (
        lambda loop: distributed(loop.model, lambda wrapped: wrapped(ROWS)),
        "0.weight: DistributedDataParallel averages .* wrap that",
    ),
    "written after a step into what was taken before": (late, "0.weight was written through a tensor"),
    "a graph from before": (before, "0.bias, 0.weight, .*: the gradient is of a forward pass from before"),
    "some gradients are none": (partly, "no gradient reached 0.bias, but others"),
    "twice": (again, "Sequential: a smaller network trains in its place already"),
    "a layer of it": (again_within, "Linear: a smaller network trains in its place already"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_network_cannot_follow_is_refused_by_name(name: str) -> None:
    act, words = REFUSED[name]
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    loop = Loop(model, None, optimizer)
    loop.kept = torch.stack([each.sum() for each in model.parameters()]).sum()
    with Compacted(model, optimizer, MASK, example=ROWS) as loop.held, pytest.raises(GuardError, match=words):
        act(loop)
    assert all(type(each) is nn.Parameter for each in loop.early)
    assert {id(one) for one in optimizer.param_groups[0]["params"]} == {id(one) for one in loop.early}


def test_a_setting_that_a_sparse_layer_has_not_is_refused() -> None:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    with Compacted(model, optimizer, MASK, example=ROWS) as small:
        if "sparse" not in small.compact.forms.values():
            pytest.skip("no layer is sparse")
        model[0].in_features = 5
        with pytest.raises(GuardError, match="0: in_features was changed"):
            small.network(ROWS)


class Counted(nn.Module):
    """A network whose code keeps numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls, self.scale = net(), 0, 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Count, and scale."""
        self.calls += 1
        return self.scale * self.inner(x)


def test_numbers_of_the_models_own_code_go_there_and_back() -> None:
    model = Counted()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    mask = {f"inner.{name}": remaining for name, remaining in MASK.items()}
    with torch.random.fork_rng(), Compacted(model, optimizer, mask, example=ROWS) as small:
        before = model.calls
        model.eval()
        one = small.network(ROWS)
        model.scale = 3.0
        torch.testing.assert_close(small.network(ROWS), 3 * one)
    assert model.calls == before + 2


def test_a_closed_network_is_evaluated_and_not_trained() -> None:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    with Compacted(model, optimizer, MASK, example=ROWS) as small:
        pass
    small.network.eval()
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(small.network(ROWS), model(ROWS))
    with pytest.raises(GuardError, match=r"the smaller network was closed, .* in the Sequential; call that"):
        small.network(ROWS)


def test_what_numpy_wrote_into_the_model_is_renewed() -> None:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    with torch.random.fork_rng(), Compacted(model, optimizer, MASK, example=ROWS) as small:
        small.network(ROWS).sum().backward()
        optimizer.step()
        other = model[6].weight.detach().clone()
        model[4].bias.detach().numpy()[:] = 0.75
        small.renew()
        assert (small.network.get_parameter("4.bias") == 0.75).all()
        assert torch.equal(model[6].weight, other)


def test_an_error_leaves_an_ordinary_model() -> None:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    def fail() -> None:
        with Compacted(model, optimizer, MASK, example=ROWS) as small:
            small.network(ROWS).sum().backward()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [*vars(model)] == [*vars(net())]
    with Compacted(model, optimizer, MASK, example=ROWS) as small:  # and again
        assert small.network is not model
