"""The rows of the guard's laws: optimizers as users have them, two of them written here."""

import pytest
import torch
from torch import optim


class Lamb(optim.Optimizer):
    """LAMB's shape: an Adam step scaled by the norms of the whole tensor, so that every entry sees all others."""

    def __init__(self, params, lr=0.02, decay=0.01):
        super().__init__(params, {"lr": lr, "decay": decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["mean"], state["square"] = torch.zeros_like(w), torch.zeros_like(w)
                state["mean"].lerp_(w.grad, 0.1)
                state["square"].lerp_(w.grad.square(), 0.01)
                update = state["mean"] / (state["square"].sqrt() + 1e-6) + group["decay"] * w
                ratio = w.norm() / update.norm().clamp_min(1e-9) if w.norm() > 0 else 1.0
                w.sub_(group["lr"] * ratio * update)


class Lion(optim.Optimizer):
    """Lion's shape: the sign of a blend; here its moment is a new tensor at every step."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                mean = self.state[w].get("mean", torch.zeros_like(w))
                w.sub_(group["lr"] * mean.lerp(w.grad, 0.1).sign())
                self.state[w]["mean"] = mean.lerp(w.grad, 0.01)


class Mixer(optim.Optimizer):
    """Smears gradient, weight and moment over the whole tensor: the worst that an optimizer can do."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                moments = self.state[w].setdefault("moments", [torch.ones_like(w), (torch.ones_like(w) * 2)])
                for moment in moments:
                    moment.add_(w.grad.mean() + 1e-3)
                w.sub_(group["lr"] * (moments[0] + w.grad.norm()))


def muon(params):
    params = list(params)
    return [
        optim.Muon([w for w in params if w.dim() == 2], lr=0.02, weight_decay=0.1),
        optim.SGD([w for w in params if w.dim() != 2], lr=0.05, momentum=0.9),
    ]


def schedule_free(kind, **settings):
    """Keeps a second copy of the weights, `z`, and steps in its train mode alone."""

    def made(params):
        package = pytest.importorskip("schedulefree", reason="the package schedulefree is not here")
        optimizer = getattr(package, kind)(params, lr=0.02, weight_decay=0.05, **settings)
        optimizer.train()
        return optimizer

    return made


def adafactor(params):
    """That of transformers, whose moments are factored and thus of other shapes."""
    package = pytest.importorskip("transformers", reason="the package transformers is not here")
    return package.Adafactor(params, lr=0.01, relative_step=False, scale_parameter=False, beta1=0.9, weight_decay=0.1)


TABLE = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd momentum nesterov decay": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-2),
    "sgd maximize dampening": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, dampening=0.1, maximize=True),
    "sgd foreach": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, foreach=True),
    "adam decay amsgrad": lambda p: optim.Adam(p, lr=0.01, weight_decay=1e-2, amsgrad=True),
    "adam fused": lambda p: optim.Adam(p, lr=0.01, fused=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop centered momentum": lambda p: optim.RMSprop(p, lr=1e-3, momentum=0.9, centered=True, weight_decay=1e-2),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "adadelta": lambda p: optim.Adadelta(p, lr=1.0),
    "nadam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.05),
    "rprop": lambda p: optim.Rprop(p, lr=0.01),
    "muon": muon,
    "lbfgs": lambda p: optim.LBFGS(p, lr=0.1, max_iter=3),
    "adafactor": lambda p: optim.Adafactor(p, lr=0.05, weight_decay=0.1),
    "adafactor of transformers": adafactor,
    "schedule-free sgd": schedule_free("SGDScheduleFree"),
    "schedule-free adamw": schedule_free("AdamWScheduleFree"),
    "schedule-free radam": schedule_free("RAdamScheduleFree", silent_sgd_phase=False),
    "lamb": Lamb,
    "lion": Lion,
    "mixer": Mixer,
}
