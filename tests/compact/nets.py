"""Networks as users write them: what the walk knows, what it does not, and what cannot be traced."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
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


class Reads(Plain):
    """A number of a tensor becomes one of Python's."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(torch.flatten(self.two(self.one(x) * (2 + x.mean().item())), 1))))


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
    """Goes by a number that it draws, and would fail the other way."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x) if torch.rand(()) >= 0 else x
        return self.fc2(self.fc1(self.two(x).flatten(1)))


class Inverted(nn.Module):
    """MobileNetV2's block: wide, depthwise, narrow, with a sum where the sizes are equal."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, wider: int = 4) -> None:
        super().__init__()
        hidden = inputs * wider
        self.same = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            *(nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)),
            *(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNet(nn.Module):
    """MobileNetV2, small: inverted blocks, a mean over places, dropout before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        first = (nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU6(inplace=True))
        self.features = nn.Sequential(*first, Inverted(6, 6), Inverted(6, 8, stride=2))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = nn.functional.adaptive_avg_pool2d(x, (1, 1))
        return self.classifier(torch.flatten(x, 1))


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels of all groups in turn, as ShuffleNetV2 has it."""
    count, channels, height, width = x.size()
    x = x.view(count, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(count, channels, height, width)


class Shuffled(nn.Module):
    """ShuffleNetV2's unit: half of the channels go through, the others by a depthwise convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *(nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)),
            *(nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False), nn.BatchNorm2d(half)),
            *(nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.chunk(2, dim=1)
        return shuffle(torch.cat((one, self.branch(other)), dim=1), 2)


class ShuffleNet(nn.Module):
    """ShuffleNetV2, small."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.units = nn.Sequential(Shuffled(8), Shuffled(8))
        self.last = nn.Sequential(nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(inplace=True))
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.last(self.units(self.first(x))).mean([2, 3]))


class CausalAttention(nn.Module):
    """nanoGPT's: one layer for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        assert width % heads == 0
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.resid_dropout, self.heads, self.width = nn.Dropout(0.1), heads, width

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = (
            each.view(B, T, self.heads, C // self.heads).transpose(1, 2) for each in self.c_attn(x).split(self.width, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C)))


class GPTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), CausalAttention(width, 2), nn.LayerNorm(width)
        self.c_fc, self.gelu, self.c_proj, self.dropout = nn.Linear(width, 4 * width), nn.GELU(), None, nn.Dropout(0.1)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.dropout(self.c_proj(self.gelu(self.c_fc(self.ln_2(x)))))


class GPT(nn.Module):
    """nanoGPT, small; its tokens are whether places of an image are bright."""

    def __init__(self, width: int = 8, size: int = 16) -> None:
        super().__init__()
        self.size, self.wte, self.wpe = size, nn.Embedding(2, width), nn.Embedding(size, width)
        self.drop, self.h = nn.Dropout(0.1), nn.ModuleList([GPTBlock(width), GPTBlock(width)])
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, 10, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        idx = (images[:, 0, 0] > 0).long()
        _, t = idx.size()
        assert t <= self.size, f"Cannot forward sequence of length {t}, block size is only {self.size}"
        x = self.drop(self.wte(idx) + self.wpe(torch.arange(0, int(t), dtype=torch.long, device=idx.device)))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))[:, -1]


class EinopsAttention(nn.Module):
    def __init__(self, width: int, heads: int = 2, dim_head: int = 4) -> None:
        super().__init__()
        self.heads, self.scale, self.norm = heads, dim_head**-0.5, nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, heads * dim_head * 3, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, width), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in self.to_qkv(self.norm(x)).chunk(3, -1))
        attention = (torch.matmul(q, k.transpose(-1, -2)) * self.scale).softmax(dim=-1)
        return self.to_out(rearrange(torch.matmul(attention, v), "b h n d -> b n (h d)"))


class ViT(nn.Module):
    """A vision transformer as it is written with einops: patches, a class token, attention, a mean."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.to_patches = nn.Sequential(
            Rearrange("b c (h p1) (w p2) -> b (h w) (p1 p2 c)", p1=8, p2=8), nn.Linear(192, 12), nn.Linear(12, width)
        )
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 5, width))
        self.attention = EinopsAttention(width)
        self.mlp = nn.Sequential(
            *(nn.LayerNorm(width), nn.Linear(width, 20), nn.GELU(), nn.Dropout(0.1), nn.Linear(20, width)),
            nn.Dropout(0.1),
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.to_patches(x)
        x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1) + self.pos
        x = self.attention(x) + x
        x = self.mlp(x) + x
        return self.head(x.mean(dim=1))


class Siamese(nn.Module):
    """One encoder for two inputs, assertions about sizes and values, and a size made a number."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 12), nn.PReLU(12), nn.Dropout(0.3), nn.Linear(12, 8), nn.PReLU())
        self.two, self.head = nn.Linear(16, 8), nn.Linear(4, 10)

    def both(self, one: Tensor, other: Tensor) -> Tensor:
        assert one.shape == other.shape and int(one.shape[1]) == 16
        assert not one.isnan().any(), "numbers, please"
        gate, value = (torch.abs(self.encoder(one) - self.encoder(other)) + self.two(one)).chunk(2, dim=-1)
        return self.head(gate.sigmoid() * value)

    def forward(self, x: Tensor, *, other: Tensor | None = None) -> Any:
        return self.both(x[:, 0, 0], x[:, 1, 0]) if other is None else {"all": [self.both(x, other), x], "none": None}


class Noisy(Plain):
    """Dropout as a function, which draws for as many numbers as there are."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(torch.relu(self.two(self.middle(self.one(x)))), 0.5, self.training)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


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
