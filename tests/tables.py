"""The tables that laws are applied to: a new optimizer, model or control is one new row here."""

from __future__ import annotations

from typing import Any

import torch

from oneticket.lottery.controls import ARMS
from oneticket.models.spec import ModelSpec


class Centred(torch.optim.Optimizer):
    """Momentum on gradients whose mean over a tensor is taken away: it mixes entries, and moves pruned ones too."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad + group["weight_decay"] * weight
                moment = self.state[weight].setdefault("moment", torch.zeros_like(weight))
                moment.mul_(0.9).add_(gradient - gradient.mean())
                weight.sub_(group["lr"] * moment)


def centred(parameters: Any, weight_decay: float, lr: float = 0.02) -> torch.optim.Optimizer:
    """An optimizer of somebody's own."""
    return Centred(parameters, {"lr": lr, "weight_decay": weight_decay})


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd"},
    "sgd-plain": {"name": "sgd", "momentum": 0, "weight_decay": 0},
    "sgd-nesterov": {"name": "sgd", "nesterov": True, "weight_decay": 1e-2},
    "sgd-schedule": {"name": "sgd", "schedule": "step", "milestones": ["1ep"], "warmup": "5it"},
    "adam": {"name": "adam", "weight_decay": 1e-2, "schedule": "cosine"},
    "adamw": {"name": "adamw"},
    "rmsprop": {"name": "rmsprop", "momentum": 0.9},
    "nadam": {"name": "nadam", "weight_decay": 1e-2},
    "muon": {"name": "muon"},
    "your own": {"name": "tables:centred", "weight_decay": 1e-2},
}

MODELS: dict[str, ModelSpec] = {
    "lenet": ModelSpec(name="lenet-300-100", width=0.1),
    "mlp": ModelSpec(name="mlp", widths=(20, 10)),
    "conv-2": ModelSpec(name="conv-2", width=0.1),
    "resnet-20": ModelSpec(name="resnet-20", width=0.25),
    "vgg-11": ModelSpec(name="vgg-11", width=0.05),
}

CONTROLS = [arm for arm in ARMS if arm not in ("ticket", "own")]

MLP = {"name": "mlp", "widths": (20, 10)}

KINDS: dict[str, dict[str, Any]] = {
    "images": {"data": "digits", "model": {"name": "conv-2", "width": 0.1}, "per_class": 20},
    "vectors": {"data": "own_sets:rows", "model": MLP},
    "series": {"data": "mnist1d", "model": MLP, "per_class": 20},
    "series convolved": {"data": "own_sets:series", "model": "own_sets:filters"},
    "tokens": {"data": "own_sets:tokens", "model": "own_sets:words"},
    "tokens that follow": {
        "data": "own_sets:following",
        "model": "own_sets:per_position",
        "task": "own_sets:next_token",
    },
    "numbers": {"data": "own_sets:numbers", "model": MLP, "task": "own_sets:nearness"},
}
"""Kinds of inputs and targets: a set that has halves, a model and a task for it; see `own_sets`."""
