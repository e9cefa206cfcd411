"""From an optimizer's spec to torch optimizers on a model's parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.ground.errors import SpecError, WrongModelError
from oneticket.ground.table import Table
from oneticket.optim.eager import eager
from oneticket.optim.spec import OPTIMIZERS as NAMES
from oneticket.optim.spec import OptimizerSpec

Named = list[tuple[str, Tensor]]
Builder = Callable[[OptimizerSpec, nn.Module, Named, Collection[str]], list[Optimizer]]
Kind = type[Optimizer]


def build(spec: OptimizerSpec, model: nn.Module, *, head: Collection[str]) -> list[Optimizer]:
    """Fresh optimizers which together hold every parameter that requires a gradient, once and by name.

    One optimizer, except for muon: `torch.optim.Muon` on the hidden matrices, which are the parameters of exactly two
    dimensions outside the head and embeddings, then `torch.optim.AdamW` on the rest (convolutions, biases, norms,
    embeddings, head). `head` names the output layers' tensors. Each group's base learning rate is in `initial_lr`.
    One kernel updates many weights where torch has one; sums may differ in the last bit from torch's plain loop.

    Your own is a function of a list of (name, parameter) pairs, as torch's optimizers take it, and, by keyword, of
    those settings that the spec gives (lr, rest_lr, momentum, nesterov, betas, weight_decay). It returns an optimizer,
    or a list of them.

    Raises ModelError if nothing can be trained, or if muon has no hidden matrix, and SpecError for an optimizer of your
    own that fails or does not hold every parameter once. Muon: K. Jordan et al., 2024.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> muon, adamw = build(OptimizerSpec(name="muon"), net, head=("2.weight", "2.bias"))
    >>> muon.param_groups[0]["param_names"], adamw.param_groups[0]["param_names"]
    (['0.weight'], ['0.bias', '2.weight', '2.bias'])
    """
    named: Named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if not named:
        raise WrongModelError(f"{type(model).__name__} has no parameter that requires a gradient; unfreeze some")
    optimizers = _own(spec, named) if OPTIMIZERS.is_own(spec.name) else OPTIMIZERS[spec.name](spec, model, named, head)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _torch(kind: Kind, spec: OptimizerSpec, model: nn.Module, named: Named, head: Collection[str]) -> list[Optimizer]:
    """One of torch's, on all parameters."""
    return [eager(kind)(named, **_settings(spec, *PLAIN), **_fast(kind, named))]


def _sgd(spec: OptimizerSpec, model: nn.Module, named: Named, head: Collection[str]) -> list[Optimizer]:
    optimizers = _torch(torch.optim.SGD, spec, model, named, head)
    if spec.momentum:
        # torch's fused SGD would leave them as they lie in memory if a scaler skips the first step.
        for _, weight in named:
            optimizers[0].state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizers


def _own(spec: OptimizerSpec, named: Named) -> list[Optimizer]:
    with OPTIMIZERS.blamed(spec.name):
        made = OPTIMIZERS.own(spec.name)(named, **_settings(spec, *PLAIN, "rest_lr"))
    found = [*made] if isinstance(made, list | tuple) else [made]
    if wrong := [type(one).__name__ for one in found if not isinstance(one, Optimizer)]:
        raise SpecError(f"optimizer {spec.name!r}: expected torch optimizers, got {', '.join(wrong)}")
    held = Counter(id(weight) for one in found for group in one.param_groups for weight in group["params"])
    wrong = [f"{name} {held[id(weight)]} times" for name, weight in named if held[id(weight)] != 1]
    others = len(held.keys() - {id(weight) for _, weight in named})
    if wrong or others:
        came = ", ".join([*wrong, *([f"{others} tensors that are no parameters"] if others else [])])
        raise SpecError(f"optimizer {spec.name!r}: expected it to hold every parameter once, got {came}")
    return found


def _matrices(model: nn.Module, head: Collection[str]) -> set[str]:
    tables = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding | nn.EmbeddingBag)}
    tables |= {id(weight) for name, weight in model.named_parameters(remove_duplicate=False) if name in head}
    return {name for name, weight in model.named_parameters() if weight.dim() == 2 and id(weight) not in tables}


def _muon(spec: OptimizerSpec, model: nn.Module, named: Named, head: Collection[str]) -> list[Optimizer]:
    matrices = _matrices(model, head)
    hidden = [(name, weight) for name, weight in named if name in matrices]
    rest = [(name, weight) for name, weight in named if name not in matrices]
    if not hidden:
        raise WrongModelError(
            f"muon trains hidden matrices of linear layers, and {type(model).__name__} has none outside its output"
            " layer; take adamw, or a model with hidden linear layers"
        )
    adamw = {**_settings(spec, "betas", "weight_decay"), **_fast(torch.optim.AdamW, rest), "lr": spec.rest_lr}
    muon = eager(torch.optim.Muon)(hidden, **_settings(spec, "lr", "momentum", "nesterov", "weight_decay"))
    return [muon, eager(torch.optim.AdamW)(rest, **adamw)] if rest else [muon]


def _settings(spec: OptimizerSpec, *names: str) -> dict[str, Any]:
    """Our names are torch's; what does not apply is None."""
    return {name: value for name in names if (value := getattr(spec, name)) is not None}


def _fast(kind: Kind, named: Named) -> dict[str, bool]:
    """Whether torch may update many weights at once.

    By one fused kernel where the optimizer has one, else tensor by tensor in one call. Fused kernels walk through
    memory, so they are right only where moments and gradients lie as the weights do, which torch promises for weights
    without gaps or overlaps.
    """
    fit = all(
        weight.device.type in ("cpu", "cuda")
        and weight.is_floating_point()
        # The second asks torch to import its symbolic shapes, 0.3 s, for what the first mostly answers.
        and (weight.is_contiguous() or torch.empty_like(weight, device="meta").stride() == weight.stride())
        for _, weight in named
    )
    kernel = next((each for each in ("fused", "foreach") if each in signature(kind).parameters), None)
    return {kernel: True} if fit and kernel else {}


PLAIN = ("lr", "momentum", "nesterov", "betas", "weight_decay")

OPTIMIZERS: Table[Builder] = NAMES.filled(
    {
        "sgd": _sgd,
        "adam": partial(_torch, torch.optim.Adam),
        "adamw": partial(_torch, torch.optim.AdamW),
        "rmsprop": partial(_torch, torch.optim.RMSprop),
        "nadam": partial(_torch, torch.optim.NAdam),
        "muon": _muon,
    }
)
