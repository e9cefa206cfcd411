"""Networks as users write them: what the walk knows, what it does not, and what cannot be traced."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Branches(nn.Module):
    """Functional calls, a concatenation, a gate, a residual sum, spatial means and an open view."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 10, 1)
        self.bn = nn.BatchNorm2d(16)
        self.mix = nn.Conv2d(16, 12, 3, stride=2, padding=1)
        self.gate = nn.Linear(12, 12)
        self.again = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.fc1, self.fc2 = nn.Linear(12 * 16, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(torch.cat([self.one(x), self.two(x)], dim=1)), inplace=True)
        x = F.avg_pool2d(self.mix(x), 2)
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None] + self.again(x)
        return self.fc2(torch.tanh(self.fc1(x.view(x.size(0), -1))))


class Plain(nn.Module):
    """A convolution, something in the middle, and two linear layers."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.one, self.middle, self.two = nn.Conv2d(3, 8, 3, stride=2), middle, nn.Conv2d(8, 8, 3)
        self.fc1, self.fc2 = nn.Linear(200, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.two(self.middle(self.one(x))))
        return self.fc2(F.relu(self.fc1(x.reshape(x.shape[0], -1))))


class Figures(Plain):
    """The sizes of a view in figures."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.two(self.middle(self.one(x))))
        return self.fc2(F.relu(self.fc1(x.view(-1, 200))))


class Depends(Plain):
    """What happens depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.fc2(F.relu(self.fc1(torch.flatten(self.two(x if x.sum() > 0 else -x), 1))))


class Direct(Plain):
    """A weight used outside its layer, and a layer called twice."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.two(F.pad(self.one(x), (1, 1, 1, 1))))
        x = F.relu(F.linear(torch.flatten(x, 1), self.fc1.weight[:, :200], self.fc1.bias))
        return self.fc2(x)


class Counts(Plain):
    """The number of channels enters the values."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.fc2(self.fc1(self.two(x / x.shape[1]).flatten(1)))


class Random(Plain):
    """Draws once while it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x) if torch.rand(()) >= 0 else x
        return self.fc2(self.fc1(self.two(x).flatten(1)))


class Softmax(nn.Module):
    """Mixes the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, 1)


class Picked(nn.Module):
    """Reads one channel by its number, beside all."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x[:, 5:6]


def tied() -> nn.Module:
    net = Plain(nn.Identity())
    net.middle = nn.Conv2d(8, 8, 3, padding=1)
    net.two.weight = net.middle.weight
    return net


def frozen() -> nn.Module:
    net = Plain(nn.BatchNorm2d(8))
    net.one.requires_grad_(False)
    net.fc1.bias.requires_grad_(False)
    return net


def attention() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4),
        nn.Flatten(2),
        nn.Linear(16, 8),
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
