"""Conv-2, Conv-4 and Conv-6 of the lottery ticket paper."""

from __future__ import annotations

from torch import nn

from oneticket.ground.errors import WrongModelError
from oneticket.models.layers import Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs


def conv(spec: ModelSpec, inputs: Inputs, outputs: int, *, pairs: tuple[int, ...]) -> Net:
    """Pairs of 3x3 convolutions of that many channels, each pair max-pooled; then linear layers of 256, 256, outputs.

    ReLU throughout, no BatchNorm; weights are Xavier normal and biases 0. The first linear layer depends on the image
    size. Raises ModelError for an image that cannot be halved once per pair. Frankle and Carbin, arXiv 1803.03635.
    """
    before, *size = inputs.shape
    height, width = size[0] >> len(pairs), size[1] >> len(pairs)
    if min(height, width) < 1:
        raise WrongModelError(
            f"{spec.name} halves the image {len(pairs)} times, so height and width must be at least {2 ** len(pairs)},"
            f" got {size[0]} x {size[1]}; take a smaller conv, an mlp, a resnet or a vgg"
        )
    features: list[nn.Module] = []
    for count in pairs:
        channels = scaled(count, spec.width)
        features += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
        features += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        before = channels
    units = scaled(256, spec.width)
    layers: dict[str, nn.Module] = {
        "features": nn.Sequential(*features),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(before * height * width, units),
        "relu1": nn.ReLU(),
        "fc2": nn.Linear(units, units),
        "relu2": nn.ReLU(),
        "fc3": nn.Linear(units, outputs),
    }
    return Net(layers, conv="xavier")
