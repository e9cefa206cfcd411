"""Loops as people write them: each a row, and after every step of each nothing that is pruned has come back."""

import copy
import json
import os
from unittest.mock import patch

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from oneticket.ground.errors import GuardError
from oneticket.guard.guard import attach
from oneticket.ticket.mask import Mask

SIZES = {"0.weight": (8, 6), "3.weight": (8, 8), "5.weight": (2, 8)}


def network():
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2, bias=False)
    )


def some(density=0.4):
    return Mask({name: torch.rand(shape) < density for name, shape in SIZES.items()})


def adamw(model):
    return optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)


def step(model, *optimizers):
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = model(torch.randn(12, 6)).square().mean()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def pruned(model, mask):
    """What stands at pruned places, under the names that the model itself has."""
    return [model.get_parameter(name)[~remaining] for name, remaining in mask.items()]


def clean(model, mask):
    return all((values == 0).all() and not torch.signbit(values).any() for values in pruned(model, mask))


def plain(model, mask):
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    for _ in range(3):
        step(model, optimizer)
        yield guard


def made_before_the_model_was_moved(model, mask):
    optimizer = adamw(model)
    step(model, optimizer)
    model.to(torch.float64).to(torch.float32)
    guard = attach(model, optimizer, mask)
    for _ in range(3):
        step(model, optimizer)
        yield guard


def compiled_whole(model, mask):
    fast = torch.compile(model, backend="aot_eager")
    optimizer = adamw(fast)
    guard = attach(fast, optimizer, mask)
    assert all(name.startswith("_orig_mod.") for name in guard.mask)
    for _ in range(2):
        step(fast, optimizer)
        yield guard


def compiled_in_place(model, mask):
    model.compile(backend="eager")
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    for _ in range(2):
        step(model, optimizer)
        yield guard


def compiled_in_part(model, mask):
    model[3] = torch.compile(model[3], backend="eager")
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    for _ in range(2):
        step(model, optimizer)
        yield guard
    model[3] = model[3]._orig_mod


def compiled_step(model, mask):
    """The optimizer's step and all around it within one compiled function."""
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)

    @torch.compile(backend="eager")
    def train(images):
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()

    for _ in range(10):
        train(torch.randn(12, 6))
        yield guard


class Lookahead(optim.Optimizer):
    """Lookahead's shape: it writes weights after the optimizer within has stepped."""

    def __init__(self, base):
        super().__init__([{"params": [p for group in base.param_groups for p in group["params"]]}], {})
        self.optimizer, self.turn = base, 0
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["slow"] = p.detach().clone()

    @torch.no_grad()
    def step(self, closure=None):
        self.optimizer.step()
        self.turn += 1
        if self.turn % 2 == 0:
            for p, state in self.state.items():
                p.copy_(state["slow"].lerp_(p, 0.5))


def lookahead(model, mask):
    optimizer = Lookahead(adamw(model))
    for _ in range(3):
        step(model, optimizer)
    guard = attach(model, optimizer, mask)
    for _ in range(4):
        step(model, optimizer)
        assert guard.audit().moments == 9
        yield guard


def data_parallel(model, mask):
    optimizer = adamw(model)
    wrapped = nn.DataParallel(model)
    guard = attach(wrapped, optimizer, mask)
    for _ in range(2):
        step(wrapped, optimizer)
        yield guard


def groups(model, mask):
    """Parameter groups, one added after the attach; a layer of it was frozen until then."""
    model[5].weight.requires_grad_(False)
    optimizer = optim.SGD(
        [
            {"params": [model[0].weight], "lr": 0.1, "momentum": 0.9},
            {"params": [model[3].weight], "weight_decay": 0.1},
        ],
        lr=0.05,
    )
    guard = attach(model, optimizer, mask)
    step(model, optimizer)
    yield guard
    frozen = model[5].weight.clone()
    model[5].weight.requires_grad_(True)
    optimizer.add_param_group({"params": [model[5].weight], "lr": 0.1, "weight_decay": 0.5})
    for _ in range(2):
        step(model, optimizer)
        yield guard
    assert not torch.equal(frozen, model[5].weight)


def three_optimizers(model, mask):
    optimizers = [
        optim.Adam(model[0].parameters(), lr=0.02),
        optim.SGD([*model[1].parameters(), *model[3].parameters()], lr=0.05, momentum=0.9, weight_decay=0.1),
        optim.Muon([model[5].weight], lr=0.02),
    ]
    guard = attach(model, optimizers, mask)
    for turn in range(4):  # one after the other, as adversaries train, then all
        step(model, *(optimizers if turn == 3 else optimizers[turn : turn + 1]))
        yield guard


def a_closure(model, mask):
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    images = torch.randn(12, 6)

    def closure():
        optimizer.zero_grad()
        loss = model(images).square().mean()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        return loss

    for _ in range(3):
        optimizer.step(closure)
        yield guard


def accumulation_under_clipping(model, mask):
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    for turn in range(6):
        model(torch.randn(4, 6)).square().mean().div(3).backward()
        assert not any(p.grad[~mask[name]].any() for name, p in model.named_parameters() if name in mask)
        if turn % 3 == 2:
            remaining = [p.grad[mask[name]] if name in mask else p.grad for name, p in model.named_parameters()]
            norm = torch.linalg.vector_norm(torch.cat([part.flatten() for part in remaining]))
            assert torch.allclose(nn.utils.clip_grad_norm_(model.parameters(), 0.01), norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            yield guard


def mixed_precision(model, mask):
    """The first step is skipped, for its gradients overflowed."""
    optimizer, scaler = adamw(model), torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-125)
    guard = attach(model, optimizer, mask)
    for turn in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (model(torch.randn(12, 6)).float() * (2 if turn else 1e3)).square().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        assert (len(optimizer.state) > 0) == (turn > 0) and scaler.get_scale() == 4.0
        yield guard


def hooks_of_others(model, mask):
    heard = []
    optimizer = adamw(model)
    model[0].weight.register_post_accumulate_grad_hook(lambda p: heard.append("gradient"))
    optimizer.register_step_pre_hook(lambda *_: heard.append("before"))
    optimizer.register_step_post_hook(lambda *_: heard.append("after"))
    model.register_forward_hook(lambda *_: heard.append("forward"))
    guard = attach(model, optimizer, mask)
    for _ in range(3):
        step(model, optimizer)
        yield guard
    guard.detach()
    step(model, optimizer)
    assert heard == ["forward", "gradient", "before", "after"] * 4
    attach(model, optimizer, mask)  # the last step was unguarded


def noise_of_others(model, mask):
    """Hooks that write: noise on every gradient as it comes, and on every weight after the step."""
    optimizer = adamw(model)
    for parameter in model.parameters():
        parameter.register_hook(lambda grad: grad + torch.randn_like(grad))
    guard = attach(model, optimizer, mask)
    for _ in range(3):
        step(model, optimizer)
        yield guard


def round_trips(model, mask):
    """State saved and loaded between steps, the optimizer's too, here with weights that a dense run left."""
    optimizer = adamw(model)
    step(model, optimizer)
    dense = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    guard = attach(model, optimizer, mask)
    step(model, optimizer)
    yield guard
    sparse = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    for weights, state in (dense, sparse):
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
        assert clean(model, mask) == (weights is sparse[0])
        step(model, optimizer)
        yield guard


def assigned_state(model, mask):
    """`load_state_dict(assign=True)` makes other parameters, which the optimizer does not have."""
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    with pytest.raises(GuardError, match="0.weight: no optimizer has this parameter; was it replaced"):
        guard.audit()
    guard.detach()
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    for _ in range(2):
        step(model, optimizer)
        yield guard


def two_models(model, mask):
    """Two models in one process, their steps in turn, under masks of their own."""
    other, theirs = network(), some()
    optimizers = adamw(model), adamw(other)
    guards = attach(model, optimizers[0], mask), attach(other, optimizers[1], theirs)
    for _ in range(3):
        for each, optimizer in zip((model, other), optimizers, strict=True):
            step(each, optimizer)
        guards[1].audit()
        assert clean(other, theirs)
        yield guards[0]


def ticket_after_ticket(model, mask):
    """One guard goes, the next comes: as a search does, level after level, with the optimizer kept."""
    optimizer = adamw(model)
    wide = Mask({name: remaining | (torch.rand(remaining.shape) < 0.5) for name, remaining in mask.items()})
    with attach(model, optimizer, wide):
        step(model, optimizer)
        assert not clean(model, mask)
    guard = attach(model, optimizer, mask)
    for _ in range(2):
        step(model, optimizer)
        yield guard


def gradients_by_hand(model, mask):
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    for _ in range(3):
        optimizer.zero_grad()
        parameters = dict(model.named_parameters())
        loss = torch.func.functional_call(model, parameters, (torch.randn(12, 6),)).square().mean()
        for parameter, grad in zip(parameters.values(), torch.autograd.grad(loss, [*parameters.values()]), strict=True):
            parameter.grad = grad
        optimizer.step()
        yield guard


LOOPS = [
    plain,
    made_before_the_model_was_moved,
    compiled_whole,
    compiled_in_place,
    compiled_in_part,
    compiled_step,
    lookahead,
    data_parallel,
    groups,
    three_optimizers,
    a_closure,
    accumulation_under_clipping,
    mixed_precision,
    hooks_of_others,
    noise_of_others,
    round_trips,
    assigned_state,
    two_models,
    ticket_after_ticket,
    gradients_by_hand,
]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile's own, of itself
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # as it looks at its inputs
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_trains_the_ticket_and_nothing_else(loop):
    model, mask = network(), some()
    first = copy.deepcopy(model.state_dict())
    steps = 0
    for guard in loop(model, mask):
        steps += 1
        audit = guard.audit()
        assert (audit.parameters, audit.remaining, audit.total) == (3, mask.remaining, mask.total)
        assert all((value == 0).all() for value in under_any_name(model, mask))
    assert steps >= 2
    assert clean(model, mask)
    for name, remaining in mask.items():
        assert (model.state_dict()[name] - first[name])[remaining].any(), f"{name} did not learn"


def under_any_name(model, mask):
    held = {name.replace("_orig_mod.", ""): value for name, value in model.named_parameters()}
    return [held[name][~remaining] for name, remaining in mask.items()]


SCHEDULES = {
    "lambda from zero": lambda o: lr_scheduler.LambdaLR(o, lambda at: at / 3),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=8),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "in sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.CosineAnnealingWarmRestarts(o, 2)], milestones=[2]
    ),
    "averaging": lambda o: SWALR(o, swa_lr=0.01, anneal_epochs=2),
}


@pytest.mark.parametrize("row", SCHEDULES)
@pytest.mark.parametrize("first", ["schedule", "guard"])
def test_a_schedule_made_before_or_after_the_guard_changes_nothing(row, first):
    model, mask = network(), some()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    schedule = SCHEDULES[row](optimizer) if first == "schedule" else None
    guard = attach(model, optimizer, mask)
    schedule = schedule or SCHEDULES[row](optimizer)
    rates = []
    for _ in range(5):
        loss = step(model, optimizer)
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step(*([loss + len(rates)] if row == "plateau" else []))
        assert guard.audit().moments == 3
        assert clean(model, mask)
    assert len(set(rates)) > 1


@pytest.mark.parametrize("made", ["before", "after"])
@pytest.mark.parametrize("average", [None, get_ema_multi_avg_fn(0.5)], ids=["mean", "ema"])
def test_an_average_of_guarded_weights_is_sparse_and_one_of_dense_weights_is_not(average, made):
    model, mask = network(), some()
    optimizer = adamw(model)
    before = AveragedModel(model, multi_avg_fn=average)
    before.update_parameters(model)
    guard = attach(model, optimizer, mask)
    averaged = before if made == "before" else AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    for _ in range(3):
        step(model, optimizer)
        averaged.update_parameters(model)
        guard.audit()
    assert clean(averaged.module, mask) == (made == "after")
    assert not torch.equal(averaged.module[0].weight, model[0].weight)
    assert not any(p._post_accumulate_grad_hooks for p in averaged.parameters())
    update_bn([torch.randn(4, 6)], averaged)
    own = adamw(averaged)
    attach(averaged, own, mask).audit()


@pytest.mark.parametrize("kind", ["SGDScheduleFree", "AdamWScheduleFree", "RAdamScheduleFree", "ScheduleFreeWrapper"])
def test_schedule_free_weights_are_sparse_in_both_modes(kind):
    package = pytest.importorskip("schedulefree", reason="the package schedulefree is not here")
    model, mask = network(), some()
    wrapper = kind == "ScheduleFreeWrapper"
    inner = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1) if wrapper else None
    settings = {"silent_sgd_phase": False} if kind == "RAdamScheduleFree" else {}
    optimizer = getattr(package, kind)(inner or model.parameters(), **({} if inner else {"lr": 0.02, **settings}))
    optimizer.train()
    step(model, optimizer)
    guard = attach(model, inner or optimizer, mask)
    for _ in range(3):
        step(model, optimizer)
        training = model[0].weight.detach().clone()
        for mode in (optimizer.eval, optimizer.train):
            mode()
            assert clean(model, mask)
            assert guard.audit().moments >= 3
            assert not any(optimizer.state[model[0].weight]["z"][~mask["0.weight"]])
            assert torch.allclose(training, model[0].weight, atol=1e-6) == (mode == optimizer.train)


def test_tied_weights_are_one_and_a_copy_of_the_model_is_free():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(6, 4)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            return self.head(self.embedding(tokens))

    model, remaining = Tied(), torch.rand(6, 4) < 0.5
    optimizer = adamw(model)
    guard = attach(model, optimizer, {"head.weight": remaining})
    other = copy.deepcopy(model)
    theirs = adamw(other)
    fewer = remaining & (torch.rand(6, 4) < 0.5)
    second = attach(other, theirs, {"embedding.weight": fewer})
    for _ in range(3):
        for each, one in ((model, optimizer), (other, theirs)):
            one.zero_grad()
            nn.functional.cross_entropy(each(torch.arange(6)), torch.arange(6)).backward()
            one.step()
        assert guard.audit().parameters == second.audit().parameters == 1
    assert not model.embedding.weight[~remaining].any() and model.head.weight is model.embedding.weight
    assert not other.head.weight[~fewer].any() and other.head.weight[fewer].all() and model.head.weight[remaining].all()


@pytest.mark.parametrize(
    "wrapper", [lambda m: nn.ModuleDict({"module": m}), lambda m: torch.compile(m, backend="eager")]
)
def test_a_model_that_is_held_is_held_behind_any_wrapper(wrapper):
    model, mask = network(), some()
    optimizer = adamw(model)
    guard = attach(model, optimizer, mask)
    with pytest.raises(GuardError, match="already held by Guard"):
        attach(wrapper(model), optimizer, mask)
    assert len(optimizer._optimizer_step_post_hooks) == 1
    guard.detach()
    again = attach(wrapper(model), optimizer, mask)
    assert again.state_dict() == json.loads(json.dumps(guard.state_dict()))


def test_frameworks_wrappers_of_optimizers_are_opened():
    accelerate = pytest.importorskip("accelerate", reason="the package accelerate is not here")
    model, mask = network(), some()
    inner = adamw(model)
    optimizer = accelerate.Accelerator(cpu=True).prepare_optimizer(inner)
    assert optimizer is not inner
    guard = attach(model, optimizer, mask)
    for _ in range(2):
        step(model, optimizer)
        assert guard.audit().moments == 6
    del optimizer
    step(model, inner)
    guard.audit()


def test_lightnings_optimizer_is_opened():
    with patch.dict(os.environ):  # which its import changes
        package = pytest.importorskip("lightning.pytorch.core.optimizer", reason="the package lightning is not here")
    model, mask = network(), some()
    inner = adamw(model)
    attach(model, package.LightningOptimizer(inner), mask)
    step(model, inner)
    assert clean(model, mask)
    assert len(inner._optimizer_step_post_hooks) == 1
