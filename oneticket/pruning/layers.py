"""Layers: how a weight connects inputs with outputs, by the layer that holds it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@dataclass(frozen=True, kw_only=True)
class WeightLayout:
    """A weight's first two dimensions are outputs and inputs, or `inputs_first`; what follows are places of a kernel.

    `groups`: into so many parts is the first dimension split, each of which has channels of its own along the second.
    `gates`: so many rows, as far apart as they can be, make one output of a recurrent layer.
    """

    inputs_first: bool = False
    groups: int = 1
    gates: int = 1

    @property
    def out(self) -> int:
        """The dimension of the outputs."""
        return int(self.inputs_first)

    def inputs(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Which input channel each weight reads, as two tensors whose sum broadcasts to the shape."""
        return self._first(shape) if self.inputs_first else self._second(shape)

    def outputs(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Which output channel each weight makes, as two tensors whose sum broadcasts to the shape."""
        return self._second(shape) if self.inputs_first else self._first(shape)

    def _first(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        return along(torch.arange(shape[0], device="cpu") % (shape[0] // self.gates), 0, shape), torch.zeros(
            1, dtype=torch.long, device="cpu"
        )

    def _second(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        part = torch.arange(shape[0], device="cpu") // (shape[0] // self.groups)
        return along(part * shape[1], 0, shape), along(torch.arange(shape[1], device="cpu"), 1, shape)


def along(values: Tensor, dim: int, shape: torch.Size) -> Tensor:
    """One value per place of that dimension, broadcast over the others."""
    return values.view([-1 if other == dim else 1 for other in range(len(shape))])


def layout(model: nn.Module, name: str) -> WeightLayout | None:
    """How the parameter of that name connects, or None if it is not the weight of a layer that is known.

    >>> layout(nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2)), "0.weight")
    WeightLayout(inputs_first=True, groups=2, gates=1)
    """
    owner, _, last = name.rpartition(".")
    layer = model.get_submodule(owner)
    foreign = any(f"{kind.__module__}.{kind.__qualname__}" in SWAPPED for kind in type(layer).__mro__)
    weights = "weight" if foreign else next((LAYERS[kind] for kind in LAYERS if isinstance(layer, kind)), "")
    if not re.fullmatch(weights, last):
        return None
    swapped = foreign or isinstance(layer, _ConvTransposeNd | nn.Embedding | nn.EmbeddingBag)
    groups = layer.groups if isinstance(layer, _ConvNd) else 1
    gates = next((gates for kind, gates in GATES.items() if isinstance(layer, kind)), 1)
    return WeightLayout(inputs_first=swapped, groups=groups, gates=1 if last.startswith("weight_hr") else gates)


LAYERS: dict[type[nn.Module], str] = {
    nn.Linear: "weight",
    _ConvNd: "weight",
    nn.MultiheadAttention: "(in|q|k|v)_proj_weight",
    nn.RNNBase: r"weight_(ih|hh|hr)_l\d+(_reverse)?",
    nn.RNNCellBase: "weight_(ih|hh)",
    nn.Embedding: "weight",
    nn.EmbeddingBag: "weight",
}
"""The names of the layers' weights."""

SWAPPED = ("transformers.pytorch_utils.Conv1D",)
"""Linear layers of others, by qualified name, that keep their weight as (inputs, outputs)."""

GATES: dict[type[nn.Module], int] = {nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3}
