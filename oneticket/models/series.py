"""Series-CNN: a few convolutions over time."""

from __future__ import annotations

from torch import nn

from oneticket.ground.errors import WrongModelError
from oneticket.models.layers import Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs

KERNELS = (5, 3, 3)
"""Steps of time that each convolution sees; each has stride 2 and padding 1."""


def series_cnn(spec: ModelSpec, inputs: Inputs, outputs: int) -> Net:
    """Three convolutions of 25 channels and stride 2 with ReLU, then a linear layer on all that is left of time.

    Weights are Xavier normal and biases 0. The head depends on the length. Raises ModelError for a series of fewer than
    3 steps. Greydanus, arXiv 2011.14439, whose network for MNIST-1D this is.
    """
    channels, length = inputs.shape
    wide = scaled(25, spec.width)
    layers: dict[str, nn.Module] = {}
    for place, kernel in enumerate(KERNELS, start=1):
        if length + 2 < kernel:
            raise WrongModelError(
                f"{spec.name} needs series of 3 steps or more, got {inputs.shape[1]}; take an mlp, or longer series"
            )
        layers[f"conv{place}"] = nn.Conv1d(channels, wide, kernel, stride=2, padding=1)
        layers[f"relu{place}"] = nn.ReLU()
        channels, length = wide, (length + 2 - kernel) // 2 + 1
    layers |= {"flatten": nn.Flatten(), "head": nn.Linear(channels * length, outputs)}
    return Net(layers, conv="xavier")
