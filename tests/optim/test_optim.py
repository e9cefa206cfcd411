"""Laws of every optimizer row and schedule."""

import math
import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from oneticket.ground.errors import ModelError, SpecError
from oneticket.guard.optimizer_state import kind
from oneticket.optim.build import build
from oneticket.optim.eager import eager
from oneticket.optim.schedule import lr_factor, set_lr
from oneticket.optim.spec import OPTIMIZERS, OptimizerSpec

STEP = {"schedule": "step", "milestones": ("2ep", "3ep")}
ROWS = [
    {"name": "sgd"},
    {"name": "sgd", "momentum": 0, "lr": 0.1},
    {"name": "sgd", "nesterov": True, "lr": 0.05, "weight_decay": 0},
    {"name": "adam"},
    {"name": "adam", "lr": 3e-3, "betas": (0.8, 0.99), "weight_decay": 1e-4},
    {"name": "adamw"},
    {"name": "rmsprop"},
    {"name": "rmsprop", "momentum": 0.5},
    {"name": "nadam", "weight_decay": 1e-4},
    {"name": "muon"},
    {"name": "muon", "rest_lr": 3e-3, "nesterov": False},
    {"name": "sgd", "lr": 0.1, **STEP, "warmup": "10it"},
    {"name": "adam", "lr": 3e-3, "schedule": "cosine", "warmup": "1ep"},
]
HEAD = ("4.weight", "4.bias")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture(autouse=True)
def _keep_rng():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture(scope="module")
def digits():
    inputs, labels = load_digits(return_X_y=True)
    return torch.tensor(inputs, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_plain_reads_back(row):
    spec = OptimizerSpec.read(row)
    assert OptimizerSpec.read(spec.plain()) == spec
    assert spec.plain().keys() == OptimizerSpec.model_fields.keys()
    assert hash(OptimizerSpec.read(row)) == hash(spec)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_row_learns_digits(row, digits):
    spec, model, (inputs, labels) = OptimizerSpec.read(row), net(), digits
    optimizers = build(spec, model, head=HEAD)
    before = F.cross_entropy(model(inputs), labels).item()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).split(128)
    for step in range(120):
        set_lr(optimizers, lr_factor(spec, step, per_epoch=len(order), total=120))
        batch = order[step % len(order)]
        F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert F.cross_entropy(model(inputs), labels).item() < 0.75 * before


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_trainable_parameter_is_held_once(row):
    model = net()
    model[0].bias.requires_grad_(False)
    optimizers = build(OptimizerSpec.read(row), model, head=HEAD)
    held = [id(weight) for one in optimizers for group in one.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_torch_gets_the_settings_of_the_spec(row):
    spec = OptimizerSpec.read(row)
    group = build(spec, net(), head=HEAD)[0].param_groups[0]
    ours = {"lr", "momentum", "nesterov", "betas", "weight_decay"} & set(group)
    applies = {name: value for name in ours if (value := getattr(spec, name)) is not None}
    assert {"lr", "weight_decay"} <= applies.keys()
    assert {name: group[name] for name in applies} == applies


def test_a_weight_with_gaps_learns_like_any_other():
    """Torch's fused kernels would take its memory for that of its gradient."""
    whole = net()
    gapped = net()
    gapped[2].weight = nn.Parameter(torch.zeros(32, 2 * 144)[:, ::2])
    gapped.load_state_dict(whole.state_dict())
    inputs = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for model in (whole, gapped):
        optimizers = build(OptimizerSpec(name="adam"), model, head=HEAD)
        for _ in range(3):
            optimizers[0].zero_grad()
            model(inputs).square().mean().backward()
            optimizers[0].step()
    for one, other in zip(whole.parameters(), gapped.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_first_step_that_a_scaler_skips_changes_nothing(row):
    """Torch's fused SGD would take for momentum what happens to lie in memory."""
    inputs, models = torch.ones(4, 1, 8, 8), [net(), net()]
    for model, bad in zip(models, (True, False), strict=True):
        optimizers = build(OptimizerSpec.read(row), model, head=HEAD)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1000, backoff_factor=0.5)
        for step in range(3 + bad):
            model.zero_grad()
            loss = model(inputs).square().mean() * (float("inf") if bad and step == 0 else 1.0)
            scaler.scale(loss).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_muon_takes_hidden_matrices_and_adamw_the_rest():
    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "conv": nn.Conv2d(1, 1, 3), "body": nn.Linear(4, 4)})
    model["head"] = nn.Linear(4, 3)
    spec = OptimizerSpec(name="muon", rest_lr=0.003, weight_decay=0.02)
    muon, rest = build(spec, model, head=("head.weight", "head.bias"))
    assert muon.param_groups[0]["param_names"] == ["body.weight"]
    assert (kind(muon), kind(rest)) == (torch.optim.Muon, torch.optim.AdamW)
    assert (rest.param_groups[0]["lr"], rest.param_groups[0]["weight_decay"]) == (0.003, 0.02)


def test_muon_without_a_hidden_matrix_is_refused():
    with pytest.raises(ModelError, match=r"muon trains hidden matrices.*take adamw"):
        build(OptimizerSpec(name="muon"), nn.Linear(3, 2), head=("weight", "bias"))


def test_a_frozen_model_is_refused():
    with pytest.raises(ModelError, match="no parameter that requires a gradient"):
        build(OptimizerSpec(name="sgd"), nn.Linear(3, 2).requires_grad_(False), head=())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "sdg"}, "optimizer.name: unknown optimizer 'sdg'; did you mean 'sgd'.*your own: 'file.py:function'"),
        ({"name": "adam", "momentum": 0.9}, "optimizer.momentum: does not apply to adam"),
        ({"name": "adam", "nesterov": False}, "optimizer.nesterov: does not apply to adam"),
        ({"name": "sgd", "betas": (0.9, 0.9)}, "optimizer.betas: does not apply to sgd"),
        ({"name": "sgd", "rest_lr": 0.1}, "optimizer.rest_lr: does not apply to sgd"),
        ({"name": "rmsprop", "nesterov": True}, "optimizer.nesterov: does not apply to rmsprop"),
        ({"name": "sgd", "nesterov": True, "momentum": 0}, "needs momentum above 0"),
        ({"name": "sgd", "lr": 0}, "optimizer.lr: input should be greater than 0"),
        ({"name": "sgd", "lr": math.inf}, "optimizer.lr"),
        ({"name": "sgd", "momentum": 1}, "optimizer.momentum"),
        ({"name": "sgd", "gamma": 0.1}, "optimizer.gamma: does not apply to constant"),
        ({"name": "sgd", "milestones": ("1ep",)}, "milestones: does not apply to a constant schedule"),
        ({"name": "sgd", "schedule": "cosine", "milestones": ("1ep",)}, "does not apply to a cosine schedule"),
        ({"name": "sgd", "schedule": "step"}, "a step schedule needs at least one"),
        ({"name": "sgd", "schedule": "step", "milestones": ("2ep", "2ep")}, "expected rising times.*2ep, 2ep"),
        ({"name": "sgd", "schedule": "step", "milestones": ("0it",)}, "expected rising times above 0"),
        ({"name": "sgd", "schedule": "step", "milestones": ("2ep", "900it")}, "expected one unit"),
        ({"name": "sgd", "warmup": "soon"}, "optimizer.warmup: expected a time"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(SpecError, match=message):
        OptimizerSpec.read(given)


def test_every_field_is_described():
    assert all(field.description for field in OptimizerSpec.model_fields.values())


@pytest.mark.parametrize(
    ("fields", "factors"),
    [
        ({}, {0: 1, 39: 1}),
        ({"warmup": "4it"}, {0: 0.25, 1: 0.5, 3: 1, 4: 1, 39: 1}),
        ({"warmup": "1ep"}, {0: 0.1, 9: 1, 10: 1}),
        (STEP, {0: 1, 19: 1, 20: 0.1, 29: 0.1, 30: 0.01, 39: 0.01}),
        ({**STEP, "gamma": 0.5, "warmup": "40it"}, {0: 1 / 40, 19: 0.5, 20: 21 / 80, 39: 0.25}),
        ({"schedule": "cosine"}, {0: 1, 10: (1 + math.sqrt(0.5)) / 2, 20: 0.5, 40: 0, 50: 0}),
        ({"schedule": "cosine", "warmup": "1ep"}, {0: 0.1, 9: 1, 10: 1, 25: 0.5, 40: 0}),
        ({"schedule": "cosine", "warmup": "80it"}, {0: 1 / 80, 39: 0.5}),
    ],
    ids=str,
)
def test_schedules_at_their_boundaries(fields, factors):
    spec = OptimizerSpec(name="sgd", **fields)
    assert {step: lr_factor(spec, step, per_epoch=10, total=40) for step in factors} == pytest.approx(factors)


def test_the_learning_rate_does_not_drift():
    optimizers = build(OptimizerSpec(name="muon"), net(), head=HEAD)
    for factor in [0.1, 0.3, 0.7] * 50:
        set_lr(optimizers, factor)
    set_lr(optimizers, 1.0)
    assert [one.param_groups[0]["lr"] for one in optimizers] == [0.02, 0.001]


def test_a_foreign_optimizer_keeps_its_first_learning_rate_as_base():
    foreign = torch.optim.SGD(net().parameters(), lr=0.5)
    set_lr([foreign], 0.5)
    set_lr([foreign], 0.1)
    assert foreign.param_groups[0]["lr"] == 0.05


STEPS = """
import sys, torch
from oneticket.optim.build import build
from oneticket.optim.spec import OptimizerSpec
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
made = build(OptimizerSpec(name=sys.argv[1]), net, head=("2.weight", "2.bias"))
for _ in range(3):
    for one in made:
        one.zero_grad()
    net(torch.ones(2, 4)).square().sum().backward()
    for one in made:
        one.step()
bits = [value.hex() for weight in net.parameters() for value in weight.flatten().tolist()]
print("torch._dynamo" in sys.modules, bits)
"""


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if not OPTIMIZERS.is_own(name)])
def test_no_optimizer_imports_the_compiler_and_bits_are_torchs(name):
    def stepped(before):
        code = [sys.executable, "-c", before + STEPS, name]
        return subprocess.run(code, capture_output=True, text=True, check=True).stdout.split(maxsplit=1)

    plain = "import oneticket.optim.build as build; build.eager = lambda kind: kind\n"
    (light, bits), (torchs, torchs_bits) = stepped(""), stepped(plain)
    assert (light, torchs) == ("False", "True")
    assert bits == torchs_bits


SGDS = {
    "momentum": {"momentum": 0.9},
    "nesterov and decay": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "maximize": {"momentum": 0.5, "maximize": True, "dampening": 0.1},
    "no momentum": {},
    "rate in a tensor": {"momentum": 0.9, "lr": torch.tensor(0.1)},
    "not fused": {"momentum": 0.9, "fused": False},
}


@pytest.mark.parametrize("name", SGDS)
def test_sgd_steps_to_torchs_bits(name):
    """Over parameters in groups, without a gradient, of two dtypes, and with a closure."""
    found = []
    for made in (torch.optim.SGD, eager(torch.optim.SGD)):
        draws = torch.Generator().manual_seed(0)
        weights = [
            torch.randn(size, generator=draws, dtype=dtype).requires_grad_()
            for size, dtype in ((5, torch.float32), (3, torch.float32), (4, torch.float64), (2, torch.float32))
        ]
        groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.05}]
        sgd = made(groups, **{"lr": 0.1, "fused": True, **SGDS[name]})
        for step in range(6):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=draws, dtype=weight.dtype)
            weights[3].grad = weights[3].grad if step != 2 else None
            weights[2].grad = weights[2].grad if step < 2 else None
            assert sgd.step(*[lambda: 3.0][: step == 4]) == (3.0 if step == 4 else None)
        moments = [value for weight in weights for value in sgd.state[weight].values()]
        found.append([*weights, *(value for value in moments if value is not None)])
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_hooks_run_once_around_our_steps_and_may_change_their_arguments():
    weight, seen = torch.ones(2, requires_grad=True), []
    sgd = eager(torch.optim.SGD)([weight], lr=0.1)
    handles = [
        sgd.register_step_pre_hook(lambda one, given, named: seen.append(("before", one is sgd, given, named))),
        sgd.register_step_post_hook(lambda one, given, named: seen.append(("after", one is sgd, given, named))),
        register_optimizer_step_pre_hook(lambda *_: seen.append("global before")),
        register_optimizer_step_post_hook(lambda *_: seen.append("global after")),
    ]
    sgd.step()
    alone = ("before", True, (sgd,), {}), ("after", True, (sgd,), {})
    assert seen == ["global before", *alone, "global after"]
    handles.append(sgd.register_step_pre_hook(lambda one, _, named: ((one, lambda: 7.0), named)))
    assert sgd.step() == 7.0
    with torch.profiler.profile() as profile:
        sgd.step()
    assert any(event.key == "Optimizer.step#SGD.step" for event in profile.key_averages())
    assert len(seen) == 12
    for handle in handles:
        handle.remove()


def test_a_guard_takes_our_optimizers_for_torchs():
    made = eager(torch.optim.SGD)([torch.zeros(2, requires_grad=True)])
    assert kind(made) is torch.optim.SGD and type(made) is not torch.optim.SGD
    assert kind(torch.optim.Adam([torch.zeros(2, requires_grad=True)])) is torch.optim.Adam
