"""Residual networks: the thin ones for CIFAR and the wide ones for ImageNet."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.models.layers import Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs


@final
class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first one has the stride."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


@final
class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut, four times as wide at the end; the 3x3 one has the stride."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = _conv(inputs, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _conv(channels, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 * channels, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def thin(spec: ModelSpec, inputs: Inputs, outputs: int, *, blocks: int) -> Net:
    """He et al.'s CIFAR network: a 3x3 convolution, three stages of 16, 32, 64 channels with that many basic blocks.

    Where the size changes, the shortcut is a 1x1 convolution with BatchNorm, not the padding of He et al.: this is what
    lottery ticket work trains (the counts of Frankle and Carbin, arXiv 1803.03635, table of networks, fit only this).
    Convolutions are Kaiming normal, the head Xavier normal. Any image size fits. He et al., arXiv 1512.03385.
    """
    channels = scaled(16, spec.width)
    stem: dict[str, nn.Module] = {"conv1": _conv(inputs.shape[0], channels, 3), "bn1": nn.BatchNorm2d(channels)}
    return _net(spec, {**stem, "relu": nn.ReLU()}, channels, outputs, Basic, ((16, blocks), (32, blocks), (64, blocks)))


def wide(
    spec: ModelSpec, inputs: Inputs, outputs: int, *, block: type[Basic | Bottleneck], blocks: tuple[int, int, int, int]
) -> Net:
    """He et al.'s ImageNet network: a stem, then four stages of 64, 128, 256, 512 channels.

    The stem is a 7x7 convolution of stride 2 and a 3x3 max-pooling of stride 2, or for small images one 3x3 convolution
    of stride 1; `auto` takes the former where height and width are both at least 64. Layers and their names are
    torchvision's. Convolutions are Kaiming normal, the head Xavier normal. Any image size fits. arXiv 1512.03385.
    """
    large = spec.stem == "imagenet" or (spec.stem == "auto" and min(inputs.shape[1:]) >= 64)
    channels = scaled(64, spec.width)
    first = _conv(inputs.shape[0], channels, 7, 2) if large else _conv(inputs.shape[0], channels, 3)
    stem: dict[str, nn.Module] = {"conv1": first, "bn1": nn.BatchNorm2d(channels), "relu": nn.ReLU()}
    if large:
        stem["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    return _net(spec, stem, channels, outputs, block, tuple(zip((64, 128, 256, 512), blocks, strict=True)))


def _net(
    spec: ModelSpec,
    stem: dict[str, nn.Module],
    before: int,
    outputs: int,
    block: type[Basic | Bottleneck],
    stages: tuple[tuple[int, int], ...],
) -> Net:
    layers = dict(stem)
    for place, (count, blocks) in enumerate(stages, start=1):
        channels, stage = scaled(count, spec.width), nn.Sequential()
        for nth in range(blocks):
            stage.append(block(before, channels, 2 if nth == 0 and place > 1 else 1))
            before = channels * block.expansion
        layers[f"layer{place}"] = stage
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(before, outputs)}
    return Net(layers, conv="kaiming")


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
