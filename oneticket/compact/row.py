"""Layers in a row, whose sparse linear layers are called together with the ReLUs and small layers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from oneticket.compact.blocks import Blocks, whole
from oneticket.compact.chain import Link, product
from oneticket.compact.sparse import Sparse

SMALL = 1 << 15  # weights of a dense layer that is called with the sparse one before it, where it takes no longer


def join(network: nn.Module) -> None:
    """Let every `nn.Sequential` that has a sparse linear layer call it together with what follows.

    The modules stay as they are. Each is called by itself whenever hooks or a `forward` of its own would see that it is
    not, or under autocast.
    """
    for module in network.modules():
        plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        plain = plain and "forward" not in vars(module)
        if plain and any(isinstance(each, Sparse) and each.linear for each in module.children()):
            module.forward = Row(module._modules)


def by_column(network: nn.Module) -> bool:
    """Whether a network copies its inputs, unless their memory lies by column."""
    if not isinstance(vars(network).get("forward"), Row):
        return False
    first = next(layer for layer in network.children() if type(layer) is not nn.Flatten)
    return type(first) is Sparse and first.linear


class Row:
    """The forward pass of a container; copies of it have their own, with the copied layers.

    It knows the container's layers alone: with the container itself it would make a cycle, whose memory stays a while.
    """

    def __init__(self, layers: Mapping[str, Any]) -> None:
        self._layers = layers

    def __call__(self, input: Any) -> Any:
        x, layers = input, [*self._layers.values()]
        alone = torch.is_autocast_enabled("cpu") or _has_any_global_hook()  # type: ignore[no-untyped-call]
        at = 0
        while at < len(layers):
            found = None if alone or type(layers[at]) is not Sparse else _chain(layers, at)
            if found is None:
                x, at = layers[at](x), at + 1
            else:
                links, tensors, at = found
                x = product(x, links, tensors)
        return x


def _chain(layers: Sequence[nn.Module], at: int) -> tuple[list[Link], list[Tensor | None], int] | None:
    """The sparse linear layer at a place and what can be called together with it, up to another place; or None."""
    links: list[Link] = []
    tensors: list[Tensor | None] = []
    while at < len(layers) and not _hooked(layer := layers[at]):
        if type(layer) is nn.ReLU and links:
            links[-1], at = links[-1]._replace(floor=True), at + 1
            continue
        held = layer._parameters
        weight, bias = held.get("weight"), held.get("bias")
        blocks = _blocks(layer, weight) if weight is not None else None
        if blocks is None or (links and links[-1].blocks.outputs != blocks.inputs):
            break
        links.append(Link(blocks, floor=False))
        tensors += (weight, bias)
        at += 1
    return (links, tensors, at) if links else None


def _blocks(layer: nn.Module, weight: Tensor) -> Blocks | None:
    """Where the weights are of a linear layer that is sparse or small."""
    if type(layer) is Sparse:
        return layer.pattern if isinstance(layer.pattern, Blocks) else None
    small = type(layer) is nn.Linear and weight.numel() <= SMALL and weight.dtype == torch.float32
    return whole(*weight.shape) if small and weight.is_cpu and weight.is_contiguous() else None


def _hooked(layer: nn.Module) -> bool:
    """Whether a call of the layer is more than its class's `forward`."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    return bool(hooks or "forward" in layer.__dict__)
