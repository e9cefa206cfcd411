"""From an optimizer's spec to torch optimizers on a model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.ground.errors import ModelError
from oneticket.optim.spec import OptimizerSpec

Named = list[tuple[str, Tensor]]


def build(spec: OptimizerSpec, model: nn.Module, *, head: Collection[str]) -> list[Optimizer]:
    """Fresh optimizers which together hold every parameter that requires a gradient, once and by name.

    One optimizer, except for muon: `torch.optim.Muon` on the hidden matrices, which are the parameters of exactly two
    dimensions outside the head and embeddings, then `torch.optim.AdamW` on the rest (convolutions, biases, norms,
    embeddings, head). `head` names the output layers' tensors. Each group's base learning rate is in `initial_lr`.
    One kernel updates many weights where torch has one; sums may differ in the last bit from torch's plain loop.
    Raises ModelError if nothing can be trained, or if muon has no hidden matrix. Muon: K. Jordan et al., 2024.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> muon, adamw = build(OptimizerSpec(name="muon"), net, head=("2.weight", "2.bias"))
    >>> muon.param_groups[0]["param_names"], adamw.param_groups[0]["param_names"]
    (['0.weight'], ['0.bias', '2.weight', '2.bias'])
    """
    named: Named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if not named:
        raise ModelError(f"{type(model).__name__} has no parameter that requires a gradient; unfreeze some")
    if spec.name == "muon":
        optimizers = _muon(spec, model, named, head)
    else:
        settings = _settings(spec, "lr", "momentum", "nesterov", "betas", "weight_decay")
        optimizers = [_CLASSES[spec.name](named, **settings, **_fast(spec.name, named))]
        if spec.name == "sgd" and spec.momentum:
            # torch's fused SGD would leave them as they lie in memory if a scaler skips the first step.
            for _, weight in named:
                optimizers[0].state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _matrices(model: nn.Module, head: Collection[str]) -> set[str]:
    tables = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding | nn.EmbeddingBag)}
    tables |= {id(weight) for name, weight in model.named_parameters(remove_duplicate=False) if name in head}
    return {name for name, weight in model.named_parameters() if weight.dim() == 2 and id(weight) not in tables}


def _muon(spec: OptimizerSpec, model: nn.Module, named: Named, head: Collection[str]) -> list[Optimizer]:
    matrices = _matrices(model, head)
    hidden = [(name, weight) for name, weight in named if name in matrices]
    rest = [(name, weight) for name, weight in named if name not in matrices]
    if not hidden:
        raise ModelError(
            f"muon trains hidden matrices of linear layers, and {type(model).__name__} has none outside its output"
            " layer; take adamw, or a model with hidden linear layers"
        )
    adamw = {**_settings(spec, "betas", "weight_decay"), **_fast("adamw", rest), "lr": spec.rest_lr}
    muon = torch.optim.Muon(hidden, **_settings(spec, "lr", "momentum", "nesterov", "weight_decay"))
    return [muon, torch.optim.AdamW(rest, **adamw)] if rest else [muon]


def _settings(spec: OptimizerSpec, *names: str) -> dict[str, Any]:
    """Our names are torch's; what does not apply is None."""
    return {name: value for name in names if (value := getattr(spec, name)) is not None}


def _fast(name: str, named: Named) -> dict[str, bool]:
    """Whether torch may update many weights at once.

    By one fused kernel where the optimizer has one, else tensor by tensor in one call. Fused kernels walk through
    memory, so they are right only where moments and gradients lie as the weights do, which torch promises for weights
    without gaps or overlaps.
    """
    fit = all(
        weight.device.type in ("cpu", "cuda")
        and weight.is_floating_point()
        and torch.empty_like(weight, device="meta").stride() == weight.stride()
        for _, weight in named
    )
    kernel = next((each for each in ("fused", "foreach") if each in signature(_CLASSES[name]).parameters), None)
    return {kernel: True} if fit and kernel else {}


_CLASSES: dict[str, Callable[..., Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "nadam": torch.optim.NAdam,
}
