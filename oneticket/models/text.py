"""Text-CNN: parallel convolutions of several widths over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from oneticket.models.layers import Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs

WIDTHS = (2, 3, 4, 5)
"""How many neighbouring tokens each of the parallel convolutions sees."""


@final
class Parallel(nn.Module):
    """Parallel convolutions over time, each reduced to its largest value: (N, C, T) to (N, features)."""

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(inputs, outputs, width, padding=width // 2) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """The features of all widths, one after the other, where they are above 0."""
        return torch.cat([conv(x).amax(2) for conv in self.convs], 1).relu()


@final
class Turn(nn.Module):
    """From tokens to channels: (N, T, C) to (N, C, T)."""

    def forward(self, x: Tensor) -> Tensor:
        """A view."""
        return x.transpose(1, 2)


def text_cnn(spec: ModelSpec, inputs: Inputs, outputs: int) -> Net:
    """An embedding of 32 numbers a token, 64 convolutions each of 2, 3, 4 and 5 tokens, max over time, ReLU, the head.

    Token 0 pads: its embedding is 0 and stays so. Any length fits. Embeddings are normal with standard deviation 0.3,
    convolutions and head Xavier normal, biases 0. Kim, EMNLP 2014, arXiv 1408.5882, over bytes instead of words.
    """
    assert inputs.vocabulary is not None
    embedding, channels = scaled(32, spec.width), scaled(64, spec.width)
    layers: dict[str, nn.Module] = {
        "embed": nn.Embedding(inputs.vocabulary, embedding, padding_idx=0),
        "turn": Turn(),
        "parallel": Parallel(embedding, channels, WIDTHS),
        "head": nn.Linear(channels * len(WIDTHS), outputs),
    }
    return Net(layers, conv="xavier")
