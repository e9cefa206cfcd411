"""The tables that laws are applied to: a new optimizer, model or control is one new row here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oneticket.lottery.arms import CROSSED, OF_TARGET
from oneticket.lottery.controls import ARMS
from oneticket.models.spec import EACH_TOKEN, ModelSpec
from oneticket.task.inputs import Inputs


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

INPUTS: dict[str, Inputs] = {
    "images": Inputs(shape=(3, 32, 32)),
    "vectors": Inputs(kind="vectors", shape=(16,)),
    "series": Inputs(kind="series", shape=(2, 40)),
    "tokens": Inputs(kind="tokens", shape=(12,), vocabulary=64),
}

BEYOND_IMAGES: dict[str, tuple[ModelSpec, Inputs]] = {
    "mlp-on-vectors": (ModelSpec(name="mlp", widths=(40, 20)), INPUTS["vectors"]),
    "lenet-on-series": (ModelSpec(name="lenet-300-100", width=0.1), INPUTS["series"]),
    "series-cnn": (ModelSpec(name="series-cnn"), INPUTS["series"]),
    "text-cnn": (ModelSpec(name="text-cnn", width=0.25), INPUTS["tokens"]),
    "byte-gpt": (ModelSpec(name="byte-gpt", width=0.25), INPUTS["tokens"]),
}


def outputs_of(name: str, inputs: Inputs) -> int:
    """How many outputs a known model gets here: one for each token that may follow, or for each of ten classes."""
    return inputs.vocabulary or 0 if name in EACH_TOKEN else 10


def batch(inputs: Inputs, count: int, seed: int = 0) -> Tensor:
    """Noise, or random tokens but the one that pads."""
    generator = torch.Generator().manual_seed(seed)
    if inputs.vocabulary is not None:
        return torch.randint(1, inputs.vocabulary, (count, *inputs.shape), generator=generator)
    return torch.randn(count, *inputs.shape, generator=generator)


CONTROLS = [arm for arm in ARMS if arm not in ("ticket", "own", "own-search")]

SOURCE_ALONE = [arm for arm in ARMS if arm not in (*OF_TARGET, *CROSSED)]
"""The arms that no search on the target is needed for."""

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
    "known series": {"data": "mnist1d", "model": {"name": "series-cnn", "width": 0.5}, "per_class": 20},
    "known tokens": {"data": "own_sets:tokens", "model": {"name": "text-cnn", "width": 0.25}},
    "known numbers": {"data": "diabetes", "model": MLP, "task": "regression"},
    "known language": {
        "data": "own_sets:following",
        "model": {"name": "byte-gpt", "width": 0.25},
        "task": "language",
    },
}
"""Kinds of inputs and targets: a set that has halves, a model and a task for it; see `own_sets`."""
