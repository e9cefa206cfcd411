import copy
import gc
import json
import weakref
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam, SparseAdam

from oneticket.ground.errors import GuardError, PruneError
from oneticket.guard.guard import attach
from oneticket.ticket.mask import Mask

EYE = torch.eye(3).bool()


def pair(optimizer=Adam):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    return model, optimizer(model.parameters(), lr=0.1)


def step(model, *optimizers, zero=True):
    for optimizer in optimizers:
        optimizer.zero_grad()
    model(torch.randn(8, 3)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()


def fingerprint(model, optimizer):
    """Everything a guard might leave behind."""
    return (
        {name: sorted(vars(module)) for name, module in model.named_modules()},
        {
            name: (id(p), sorted(vars(p)), len(p._post_accumulate_grad_hooks or ()))
            for name, p in model.named_parameters()
        },
        [len(hooks) for name, hooks in sorted(vars(optimizer).items()) if name.endswith("_hooks")],
        [len(hooks) for module in model.modules() for name, hooks in sorted(vars(module).items()) if "hooks" in name],
        sorted(model.state_dict()),
        sorted(vars(optimizer)),
    )


def test_attach_zeroes_weights_gradients_and_moments_at_once():
    model, optimizer = pair()
    step(model, optimizer)
    assert optimizer.state[model[0].weight]["exp_avg"][~EYE].any()
    guard = attach(model, optimizer, {"0.weight": EYE})
    state = optimizer.state[model[0].weight]
    for tensor in (model[0].weight, model[0].weight.grad, state["exp_avg"], state["exp_avg_sq"]):
        assert (tensor[~EYE] == 0).all()
        assert tensor[EYE].all()
    assert model[2].weight.all()
    assert str(guard.audit()) == (
        "6 pruned weights in 1 parameters and 2 moments are exactly zero; "
        "density 0.3333 of 9 prunable weights, 0.75 of all 24"
    )


def test_detach_leaves_nothing_behind():
    model, optimizer = pair()
    step(model, optimizer)
    before = fingerprint(model, optimizer)
    guard = attach(model, optimizer, {"0.weight": EYE, "2.weight": ~EYE})
    during = fingerprint(model, optimizer)
    assert during[0] == before[0]
    assert during[3:] == before[3:], "modules are never hooked and state_dict never changes"
    assert during[1] != before[1]
    step(model, optimizer)
    guard.detach()
    guard.detach()
    assert fingerprint(model, optimizer) == before
    step(model, optimizer)
    assert model[0].weight[~EYE].any()
    with pytest.raises(GuardError, match="was detached and holds nothing"):
        guard.audit()


def test_a_context_manager_detaches_even_after_an_error():
    model, optimizer = pair()
    guard = attach(model, optimizer, {"0.weight": EYE})
    assert "attached" in repr(guard)
    with pytest.raises(ZeroDivisionError), guard:
        raise ZeroDivisionError
    assert "detached" in repr(guard)
    attach(model, optimizer, {"0.weight": EYE}).detach()


def test_copies_are_plain():
    model, optimizer = pair()
    attach(model, optimizer, {"0.weight": EYE})
    model_copy, optimizer_copy = copy.deepcopy((model, optimizer))
    step(model_copy, optimizer_copy)
    assert model_copy[0].weight[~EYE].any()
    assert not model_copy[0].weight._post_accumulate_grad_hooks
    step(model, optimizer)
    assert not model[0].weight[~EYE].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_that_changes_its_dtype_stays_held(dtype):
    model, optimizer = pair(SGD)
    guard = attach(model, optimizer, {"0.weight": EYE})
    model.to(dtype)
    model(torch.randn(8, 3, dtype=dtype)).square().mean().backward()
    optimizer.step()
    guard.audit()
    assert model[0].weight[EYE].all()
    assert not model[0].weight.grad[~EYE].any()


def test_a_full_mask_and_an_unnamed_parameter_cost_nothing():
    model, optimizer = pair()
    guard = attach(model, optimizer, Mask.full({"0.weight": (3, 3)}))
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())
    assert guard.audit().parameters == 0
    step(model, optimizer)


def test_nothing_is_kept_alive():
    gc.collect()
    gc.disable()
    try:
        model, optimizer = pair()
        step(model, optimizer)
        guard = attach(model, optimizer, {"0.weight": EYE})
        step(model, optimizer)
        alive = [weakref.ref(thing) for thing in (model, optimizer, guard)]
        del model, optimizer, guard
        assert [ref() for ref in alive] == [None, None, None]
    finally:
        gc.enable()


def test_a_guard_that_nobody_keeps_still_holds():
    model, optimizer = pair()
    attach(model, optimizer, {"0.weight": EYE})
    gc.collect()
    step(model, optimizer)
    assert not model[0].weight[~EYE].any()


def test_a_guard_that_died_with_its_optimizer_gates_no_more():
    model, optimizer = pair()
    attach(model, optimizer, {"0.weight": EYE})
    del optimizer
    gc.collect()
    optimizer = SGD(model.parameters(), lr=0.1)
    step(model, optimizer)
    assert model[0].weight[~EYE].any()
    attach(model, optimizer, {"0.weight": EYE})


def test_several_optimizers_share_a_guard():
    model, _ = pair()
    optimizers = [SGD(model[0].parameters(), lr=0.1, momentum=0.9), Adam(model[2].parameters())]
    guard = attach(model, optimizers, {"0.weight": EYE, "2.weight": EYE})
    step(model, *optimizers)
    assert guard.audit().moments == 3


@pytest.mark.parametrize("optimizer", [lambda p, lr: SGD(p, lr=lr, momentum=0.9), Adam])
def test_loaded_optimizer_state_is_swept_before_it_acts(optimizer):
    model, made = pair(optimizer)
    step(model, made)
    dense = copy.deepcopy(made.state_dict())
    guard = attach(model, made, {"0.weight": EYE})
    made.load_state_dict(dense)
    with pytest.raises(GuardError, match="moments at pruned weights that are not zero: 6"):
        guard.audit()
    step(model, made)
    guard.audit()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p, lr: SGD(p, lr=lr, momentum=0.9, weight_decay=0.1),
        lambda p, lr: Adam(p, lr=lr, weight_decay=0.1),
    ],
)
def test_loaded_weights_are_seen_by_the_audit_and_projected_before_they_act(optimizer):
    model, optimizer = pair(optimizer)
    dense = copy.deepcopy(model.state_dict())
    guard = attach(model, optimizer, {"0.weight": EYE})
    model.load_state_dict(dense)
    with pytest.raises(GuardError, match=r"0.weight: pruned weights that are not zero: 6"):
        guard.audit()
    step(model, optimizer)
    guard.audit()


def test_a_frozen_parameter_is_projected_and_gated_once_it_thaws():
    model, optimizer = pair()
    model[0].weight.requires_grad_(False)
    guard = attach(model, optimizer, {"0.weight": EYE})
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    step(model, optimizer)
    assert guard.audit().parameters == 1
    model[0].weight.requires_grad_(True)
    with pytest.raises(GuardError, match="no gate on its gradient"):
        guard.audit()
    step(model, optimizer)
    guard.audit()


def test_a_replaced_parameter_is_held_and_told():
    model, optimizer = pair()
    guard = attach(model, optimizer, {"0.weight": EYE})
    old = model[0].weight
    model[0].weight = nn.Parameter(torch.ones(3, 3))
    with pytest.raises(GuardError) as caught:
        guard.audit()
    for words in ("not zero: 6", "no optimizer has this parameter", "no gate on its gradient"):
        assert words in str(caught.value)
    step(model, optimizer)
    assert torch.equal(model[0].weight, torch.eye(3))
    assert not old._post_accumulate_grad_hooks
    with pytest.raises(GuardError, match="no optimizer has this parameter") as caught:
        guard.audit()
    assert "no gate" not in str(caught.value)
    optimizer.add_param_group({"params": [model[0].weight]})
    step(model, optimizer)
    guard.audit()
    assert not torch.equal(model[0].weight[EYE], torch.ones(3))


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lambda m, o, g: m[0].weight.data.fill_(torch.nan), "0.weight: pruned weights that are not zero: 6"),
        (lambda m, o, g: o.state[m[0].weight]["exp_avg"].fill_(1), "0.weight: Adam moments"),
        (lambda m, o, g: m[0].weight._post_accumulate_grad_hooks.clear(), "0.weight: no gate"),
        (lambda m, o, g: o._optimizer_step_post_hooks.clear(), "lost the guard's hooks"),
        (lambda m, o, g: o.param_groups[0]["params"].pop(0), "0.weight: no optimizer has this parameter"),
        (lambda m, o, g: setattr(g, "mask", Mask.full({"0.weight": (3, 3)})), "0.weight: what is held is not the mask"),
        (lambda m, o, g: m.__delitem__(0), "0.weight: not in the model any more"),
        (lambda m, o, g: setattr(m[0], "weight", nn.Parameter(torch.ones(2, 3))), "0.weight: now of shape (2, 3)"),
    ],
)
def test_the_audit_finds(tamper, words):
    model, optimizer = pair()
    guard = attach(model, optimizer, {"0.weight": EYE})
    step(model, optimizer)
    guard.audit()
    tamper(model, optimizer, guard)
    with pytest.raises(GuardError, match="the mask does not hold:\n") as caught:
        guard.audit()
    assert words in str(caught.value)


def test_a_model_that_lost_its_parameter_cannot_step_on_in_silence():
    model, optimizer = pair()
    attach(model, optimizer, {"2.weight": EYE})
    loss = model(torch.ones(1, 3)).sum()
    del model[2]
    loss.backward()
    with pytest.raises(GuardError, match=r"2\.weight: the model changed under the guard"):
        optimizer.step()


def whole_numbers(model, optimizer):
    model[0].weight = nn.Parameter(torch.ones(3, 3).int(), requires_grad=False)
    attach(model, optimizer, {"0.weight": EYE})


def lazy(model, optimizer):
    model[2] = nn.LazyLinear(3)
    attach(model, optimizer, {"2.weight": EYE})


def tied(model, optimizer):
    model[2].weight = model[0].weight
    attach(model, optimizer, {"0.weight": EYE, "2.weight": ~EYE})


def twice(model, optimizer):
    holed = torch.ones(3, 3).bool()
    holed[0, 0] = False
    with torch.no_grad():
        model[2].weight[0, 0] = 0.0
    attach(model, optimizer, {"2.weight": holed}, rule="project")
    attach(nn.Sequential(model), SGD(model.parameters(), lr=0.1), {"0.weight": EYE, "2.weight": EYE})


def siamese(model, optimizer):
    both = nn.ModuleDict({"left": model, "right": copy.deepcopy(model)})
    attach(both, SGD(both.parameters(), lr=0.1), {"0.weight": EYE})


def in_inference_mode(model, optimizer):
    with torch.inference_mode():
        model[2].weight = nn.Parameter(torch.ones(3, 3), requires_grad=False)
    attach(model, optimizer, {"0.weight": EYE, "2.weight": EYE})


def sparse_gradient(model, optimizer):
    model[2].weight.grad = torch.eye(3).to_sparse()
    attach(model, optimizer, {"0.weight": EYE, "2.weight": EYE})


def expanded(model, optimizer):
    model[2].weight = nn.Parameter(torch.ones(1, 3).expand(3, 3))
    attach(model, SGD(model.parameters(), lr=0.1), {"0.weight": EYE, "2.weight": EYE})


def expanded_gradient(model, optimizer):
    model[2].weight.grad = torch.ones(1, 1).expand(3, 3)
    attach(model, optimizer, {"0.weight": EYE, "2.weight": EYE})


def stepped_lbfgs(model, optimizer):
    made = LBFGS(model.parameters(), lr=0.01)
    made.step(lambda: [made.zero_grad(), loss := model(torch.ones(4, 3)).square().sum(), loss.backward()][1])
    model.requires_grad_(True)
    attach(model, made, {"0.weight": EYE})


class Wrapper:
    """As libraries make them: not an optimizer, with one inside."""

    def __init__(self, base):
        self.base = base


class Unhooked(torch.optim.Optimizer):
    """As they make them too: an optimizer that never was set up as one, with hooks that nobody runs."""

    def __init__(self, base):
        self.optimizer, self.param_groups, self.state = base, base.param_groups, {}
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()

    def step(self, closure=None):
        self.optimizer.step(closure)


class Bare(torch.optim.Optimizer):
    """And without hooks at all."""

    def __init__(self, base):
        self.optimizer, self.param_groups, self.state = base, base.param_groups, {}

    def step(self, closure=None):
        self.optimizer.step(closure)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, o: attach(m, o, {"9.weight": EYE}), "no parameters of the model: 9.weight; the model has 0.bias"),
        (siamese, "are all in the model behind 'left.' and behind 'right.'; which are meant?"),
        (lambda m, o: attach(m, o, {"0.weight": EYE[:2]}), "expected a dense parameter of shape (2, 3)"),
        (whole_numbers, "torch.int32"),
        (lambda m, o: attach(m, SGD([m[2].weight], lr=1), {"0.weight": EYE}), "no optimizer has 0.weight; hand over"),
        (lambda m, o: attach(m, [], {"0.weight": EYE}), "no optimizer has"),
        (lambda m, o: attach(m, "adam", {"0.weight": EYE}), "expected torch optimizers, got str"),
        (
            lambda m, o: attach(m, Wrapper(o), {"0.weight": EYE}),
            "got Wrapper; hand over its `.base` instead, if Wrapper.step writes no weights of its own",
        ),
        (lambda m, o: attach(m, Unhooked(o), {"0.weight": EYE}), "Unhooked.step runs no step hooks, so what it writes"),
        (lambda m, o: attach(m, Bare(o), {"0.weight": EYE}), "hand over its `.optimizer` instead, if Bare.step"),
        (expanded, "2.weight: an expanded tensor, whose entries share memory"),
        (expanded_gradient, "2.weight: its gradient or a moment is an expanded tensor"),
        (stepped_lbfgs, "0.weight: LBFGS has stepped, and its flat state would write to pruned weights; attach before"),
        (
            lambda m, o: attach(m, SparseAdam(m.parameters()), {"0.weight": EYE}),
            "0.weight: a sparse gradient cannot be",
        ),
        (lambda m, o: attach(m, o, {"0.weight": EYE}, rule="gate"), "unknown rule 'gate'"),
        (lambda m, o: attach("model", o, {"0.weight": EYE}), "expected a torch module, got str"),
        (sparse_gradient, "2.weight: a sparse gradient cannot be gated; use sparse=False"),
        (in_inference_mode, "2.weight: made in inference mode"),
        (lazy, "2.weight: the parameter has no values yet"),
        (lambda m, o: attach(m.to("meta"), o, {"0.weight": EYE}), "0.weight: the parameter has no values yet"),
        (tied, "2.weight: tied to 0.weight in the model, but their masks differ"),
        (twice, "2.weight: already held by Guard(Mask(1 tensors"),
    ],
)
def test_what_cannot_be_held_is_refused_and_nothing_is_touched(call, words):
    model, optimizer = pair()
    step(model, optimizer)
    with torch.no_grad():
        model[2].weight[0, 0] = 0.0
    optimizer.state[model[2].weight]["exp_avg"][0, 0] = optimizer.state[model[2].weight]["exp_avg_sq"][0, 0] = 0.0
    before = [tensor.clone() for tensor in touchable(model, optimizer)]
    with pytest.raises(GuardError) as caught:
        call(model, optimizer)
    assert words in str(caught.value)
    if not model[0].weight.is_meta and call not in UNLIKE:
        assert all(map(torch.equal, touchable(model, optimizer), before))
    assert not model[0].weight._post_accumulate_grad_hooks
    assert call is twice or not optimizer._optimizer_step_pre_hooks


UNLIKE = (lazy, whole_numbers, tied, in_inference_mode, sparse_gradient, expanded, expanded_gradient, stepped_lbfgs)
"""Calls that change the model before they attach."""


def test_an_attach_that_fails_half_way_leaves_no_hook_and_no_gate():
    model, first = pair()
    second = SGD(model.parameters(), lr=0.1)
    step(model, first)
    second.register_step_post_hook = None
    with pytest.raises(TypeError):
        attach(model, [first, second], {"0.weight": EYE})
    assert not model[0].weight._post_accumulate_grad_hooks
    assert not any(
        (first._optimizer_step_pre_hooks, first._optimizer_step_post_hooks, second._optimizer_step_pre_hooks)
    )
    step(model, first)
    assert model[0].weight.grad[~EYE].any()
    attach(model, first, {"0.weight": EYE}).audit()


def test_flat_state_is_audited():
    model, _ = pair()
    optimizer = LBFGS(model.parameters(), lr=0.01, max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(4, 3)).square().sum()
        loss.backward()
        return loss

    guard = attach(model, optimizer, {"0.weight": EYE, "2.weight": ~EYE})
    optimizer.step(closure)
    assert guard.audit().moments > 2
    state = optimizer.state[model[0].weight]
    state["d"][1] = 1.0  # 0.weight[0, 1]
    with pytest.raises(GuardError, match="0.weight: LBFGS moments at pruned weights that are not zero: 1$"):
        guard.audit()
    state["d"][1], state["d"][12] = 0.0, 1.0  # 2.weight[0, 0]
    with pytest.raises(GuardError, match="2.weight: LBFGS moments at pruned weights that are not zero: 1$"):
        guard.audit()
    state["d"][12] = 0.0
    guard.detach()
    attach(model, optimizer, {"0.weight": EYE, "2.weight": ~EYE}).audit()


@pytest.mark.parametrize("replaced", ["0", "2"])
def test_parameters_that_are_untied_are_each_held(replaced):
    model, _ = pair()
    model[2].weight = model[0].weight
    optimizer = Adam(model.parameters(), lr=0.1)
    guard = attach(model, optimizer, {"0.weight": EYE, "2.weight": EYE})
    step(model, optimizer)
    module = model.get_submodule(replaced)
    module.weight = nn.Parameter(torch.ones(3, 3))
    with pytest.raises(GuardError, match=rf"{replaced}.weight: pruned weights that are not zero: 6"):
        guard.audit()
    optimizer.add_param_group({"params": [module.weight]})
    for _ in range(2):
        step(model, optimizer)
        assert (guard.audit().parameters, guard.audit().moments) == (2, 4)
    assert not model[0].weight[~EYE].any() and not model[2].weight[~EYE].any()
    lone = model[2].weight
    model[2].weight = model[0].weight
    step(model, optimizer)
    assert guard.audit().parameters == 1 and not lone._post_accumulate_grad_hooks
    guard.detach()
    assert not model[0].weight._post_accumulate_grad_hooks


def touchable(model, optimizer):
    """All that a guard may write."""
    parameters = list(model.parameters())
    moments = [moment for p in parameters for moment in optimizer.state.get(p, {}).values()]
    return [*parameters, *[p.grad for p in parameters if p.grad is not None], *moments]


def test_what_is_no_mask_is_refused():
    model, optimizer = pair()
    with pytest.raises(PruneError, match="expected a dense bool tensor"):
        attach(model, optimizer, {"0.weight": EYE.float()})


@pytest.mark.parametrize("named", [["0.weight"], ["2.weight"], ["0.weight", "2.weight"]])
def test_tied_parameters_share_a_mask(named):
    model, optimizer = pair()
    model[2].weight = model[0].weight
    guard = attach(model, optimizer, dict.fromkeys(named, EYE))
    step(model, optimizer)
    assert guard.audit().parameters == 1
    assert len(model[0].weight._post_accumulate_grad_hooks) == 1


def test_a_sparse_gradient_is_refused_in_words():
    model = nn.Embedding(3, 3, sparse=True)
    optimizer = SGD(model.parameters(), lr=0.1)
    attach(model, optimizer, {"weight": EYE})
    with pytest.raises(GuardError, match="gradient cannot be gated"):
        model(torch.tensor([0])).sum().backward()


def test_sparse_gradients_are_held_by_projection():
    model = nn.Embedding(3, 3, sparse=True)
    optimizer = SparseAdam(model.parameters(), lr=0.1)
    guard = attach(model, optimizer, {"weight": EYE}, rule="project")
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.tensor([0, 2])).square().sum().backward()
        optimizer.step()
        assert guard.audit().moments == 2
    assert optimizer.state[model.weight]["exp_avg"][EYE][[0, 2]].all()


def test_the_state_says_which_mask_and_refuses_another():
    model, optimizer = pair()
    wrapped = nn.ModuleDict({"module": model})
    guard = attach(wrapped, optimizer, {"0.weight": EYE})
    assert list(guard.mask) == ["module.0.weight"]
    state = json.loads(json.dumps(guard.state_dict()))
    guard.detach()
    again = attach(model, optimizer, {"0.weight": EYE})
    again.load_state_dict(state)
    assert state == {"mask": Mask({"0.weight": EYE}).digest, "rule": "gate+project"}
    for other, words in [
        ({**state, "rule": "project"}, "another guard: rule is gate+project, there it was project"),
        ({**state, "mask": Mask({"0.weight": ~EYE}).digest}, "another guard: mask is "),
        ({"mask": state["mask"]}, "expected what a guard's state_dict() gave, mask, rule; got {'mask'"),
        ("state", "got 'state'"),
    ]:
        with pytest.raises(GuardError) as caught:
            again.load_state_dict(other)
        assert words in str(caught.value)
    again.audit()


def test_the_guard_draws_no_random_number_and_keeps_threads():
    model, optimizer = pair()
    step(model, optimizer)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    with attach(model, optimizer, {"0.weight": EYE}) as guard:
        optimizer.step()
        guard.audit()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.is_grad_enabled())
