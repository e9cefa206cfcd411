"""The guard's laws: for every optimizer and every way to train, nothing revives and the rest learns."""

import pytest
import torch
from optimizers import TABLE
from torch import nn

from oneticket.ground.errors import GuardError
from oneticket.guard.guard import RULES, attach
from oneticket.ticket.mask import Mask

pytestmark = pytest.mark.usefixtures("passes")

WAYS = ("plain", "clipping", "accumulation", "zeroed grads", "autocast", "scaler", "assigned grads")


def network() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    model[0].to(memory_format=torch.channels_last)
    return model


def half_of(model: nn.Module) -> Mask:
    weights = {name: value for name, value in model.named_parameters() if name != "5.bias"}
    return Mask({name: torch.rand(value.shape) < 0.4 for name, value in weights.items()})


def steps(model, optimizers, way, count=3):
    """A user's loop, which knows nothing of the guard."""
    images, labels = torch.randn(12, 1, 6, 6), torch.arange(12) % 3
    scaler = torch.amp.GradScaler("cpu", enabled=way == "scaler", init_scale=8.0)

    def backward() -> torch.Tensor:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=way != "zeroed grads")
        for part in (slice(0, 6), slice(6, 12)) if way == "accumulation" else (slice(0, 12),):
            with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
                loss = nn.functional.cross_entropy(model(images[part]), labels[part])
            if way == "assigned grads":
                parameters = list(model.parameters())
                for parameter, grad in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.grad = grad
            else:
                scaler.scale(loss).backward()
        if way == "clipping":
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        return loss.detach()

    for _ in range(count):
        if isinstance(optimizers[0], torch.optim.LBFGS):
            optimizers[0].step(backward)
        else:
            backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
        yield


def flat(value):
    return [inner for each in value for inner in flat(each)] if isinstance(value, list | tuple) else [value]


def moments_of(optimizers, parameter):
    found = [
        flat(list(optimizer.state[parameter].values())) for optimizer in optimizers if parameter in optimizer.state
    ]
    return [m for each in found for m in each if isinstance(m, torch.Tensor) and m.shape == parameter.shape]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", TABLE)
def test_pruned_weights_and_moments_are_zero_after_every_step_and_the_remaining_learn(row, way, rule):
    if row == "lbfgs" and way == "scaler":
        pytest.skip("GradScaler takes no closures")
    model = network()
    mask, made = half_of(model), TABLE[row](model.parameters())
    optimizers = made if isinstance(made, list) else [made]
    guard = attach(model, made, mask, rule=rule)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    seen = 0
    for _ in steps(model, optimizers, way):
        for name, remaining in mask.items():
            parameter = model.get_parameter(name)
            assert (parameter[~remaining] == 0).all()
            assert not torch.signbit(parameter[~remaining]).any()
            if RULES[rule] and (row, way) != ("lbfgs", "assigned grads"):  # nothing sees what a closure assigns
                assert (parameter.grad[~remaining] == 0).all()
            for moment in moments_of(optimizers, parameter):
                seen += 1
                assert (moment[~remaining] == 0).all()
        if RULES[rule] and (row, way) == ("lbfgs", "assigned grads"):
            with pytest.raises(GuardError, match="LBFGS moments at pruned weights"):
                guard.audit()
            continue
        audit = guard.audit()
        assert audit.parameters == len(mask)
    for name, parameter in model.named_parameters():
        remaining = mask.get(name, torch.tensor(True))
        assert parameter.isfinite().all()
        assert not torch.equal(parameter.detach() * remaining, before[name] * remaining), f"{name} did not learn"
    assert seen > 0 or row in ("sgd", "lbfgs", "asgd")


@pytest.mark.parametrize("row", ["sgd", "lamb", "muon"])
def test_the_rules_differ_where_they_promise_to(row):
    """Without the gate pruned entries enter clipping and mixing optimizers; elementwise steps alone are the same."""

    def trained(rule: str, way: str) -> torch.Tensor:
        torch.manual_seed(1)
        model = network()
        mask, made = half_of(model), TABLE[row](model.parameters())
        attach(model, made, mask, rule=rule)
        for _ in steps(model, made if isinstance(made, list) else [made], way):
            pass
        return torch.cat([value.detach().flatten() for value in model.parameters()])

    assert not torch.equal(trained("gate+project", "clipping"), trained("project", "clipping"))
    assert torch.equal(trained("gate+project", "plain"), trained("project", "plain")) == (row == "sgd")
    assert torch.equal(trained("gate+project", "plain"), trained("gate+project", "plain"))


@pytest.mark.parametrize("row", ["sgd momentum nesterov decay", "adamw", "muon", "mixer"])
def test_without_a_guard_pruned_weights_revive(row):
    """The control: these optimizers do leak, so the laws above are not empty."""
    model = network()
    mask, made = half_of(model), TABLE[row](model.parameters())
    attach(model, made, mask).detach()
    assert all((model.get_parameter(name)[~remaining] == 0).all() for name, remaining in mask.items())
    for _ in steps(model, made if isinstance(made, list) else [made], "plain"):
        pass
    assert any((model.get_parameter(name)[~remaining] != 0).any() for name, remaining in mask.items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 2, 2)])
def test_every_dtype_and_shape_is_zeroed_to_the_bit(dtype, shape):
    module = nn.ParameterDict({"w": nn.Parameter(torch.full(shape, torch.nan, dtype=dtype))})
    with torch.no_grad():
        module["w"].flatten()[::2] = torch.inf
    remaining = torch.rand(shape) < 0.5
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    with attach(module, optimizer, {"w": remaining}) as guard:
        assert (module["w"][~remaining] == 0).all()
        assert not module["w"][remaining].isfinite().any()
        assert not torch.signbit(module["w"][~remaining]).any()
        guard.audit()
