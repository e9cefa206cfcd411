"""VGG with BatchNorm and a single linear layer, as lottery ticket work uses it."""

from __future__ import annotations

from torch import nn

from oneticket.models.layers import Halve, Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs


def vgg(spec: ModelSpec, inputs: Inputs, outputs: int, *, convs: tuple[int, ...]) -> Net:
    """Five stages of 64, 128, 256, 512, 512 channels with that many 3x3 convolutions, each stage max-pooled.

    Every convolution has a bias and is followed by BatchNorm and ReLU; then global average pooling and the head. A
    pooling is left out once the map is one row or column. Any image size fits. Weights are Xavier normal, biases 0.
    Layers are named as in torchvision's `features`. Morcos et al., arXiv 1906.02773; VGG: arXiv 1409.1556.
    """
    before, features = inputs.shape[0], list[nn.Module]()
    for count, wide in zip(convs, (64, 128, 256, 512, 512), strict=True):
        channels = scaled(wide, spec.width)
        for _ in range(count):
            features += [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
            before = channels
        features.append(Halve())
    layers: dict[str, nn.Module] = {
        "features": nn.Sequential(*features),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(before, outputs),
    }
    return Net(layers, conv="xavier")
