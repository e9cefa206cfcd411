"""Yardstick 2, the usual stack: what users of the field's frameworks run, written as a plain user would write it.

A per-sample `Dataset` of PIL images with torchvision's transforms (written out here as torchvision does them, step by
step), a `DataLoader`, masks multiplied into the weights before every forward pass, and the loss read after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from oneticket.data.data import Data, Examples

Transform = Callable[[Any], Any]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images and labels as torchvision's MNIST and CIFAR-10 hold them: in memory, a PIL image made for every sample."""

    def __init__(self, part: Examples, transforms: list[Transform]) -> None:
        self.images = part.inputs.permute(0, 2, 3, 1).squeeze(-1).contiguous()
        self.labels = part.targets
        self.transforms = transforms

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture: Any = Image.fromarray(self.images[index].numpy())
        for transform in self.transforms:
            picture = transform(picture)
        return picture, int(self.labels[index])


class RandomCrop(nn.Module):
    """The size that it was, out of the image with a black border of 4 pixels."""

    def forward(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        padded = ImageOps.expand(picture, border=4)
        top, left = (int(torch.randint(0, 9, size=(1,)).item()) for _ in range(2))
        return padded.crop((left, top, left + width, top + height))


class RandomHorizontalFlip(nn.Module):
    """Half of the images are mirrored."""

    def forward(self, picture: Image.Image) -> Image.Image:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if torch.rand(1) < 0.5 else picture


class ToTensor:
    """An image becomes a float tensor (C, H, W) from 0 to 1."""

    def __call__(self, picture: Image.Image) -> Tensor:
        image = torch.from_numpy(np.array(picture, np.uint8, copy=True))
        image = image.view(picture.size[1], picture.size[0], len(picture.getbands()))
        return image.permute((2, 0, 1)).contiguous().to(torch.get_default_dtype()).div(255)


class Normalize(nn.Module):
    """Mean 0 and deviation 1 per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, image: Tensor) -> Tensor:
        image = image.clone()
        mean = torch.as_tensor(self.mean, dtype=image.dtype, device=image.device)
        std = torch.as_tensor(self.std, dtype=image.dtype, device=image.device)
        if (std == 0).any():
            raise ValueError("a channel without variation cannot be normalised")
        return image.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


class Usual:
    """A network trained by the usual stack; `workers` processes load its images, none by default."""

    def __init__(self, model: nn.Module, data: Data, *, batch: int, workers: int = 0) -> None:
        assert isinstance(data.train, Examples) and isinstance(data.test, Examples)
        plain: list[Transform] = [ToTensor(), Normalize(data.mean, data.std)]
        augmented = [*([RandomCrop()] if data.crop else []), *([RandomHorizontalFlip()] if data.flip else []), *plain]
        self.train_loader = DataLoader(Pictures(data.train, augmented), batch, shuffle=True, num_workers=workers)
        self.test_loader = DataLoader(Pictures(data.test, plain), batch, num_workers=workers)
        self.model = model
        self.masks = {name: torch.ones_like(p) for name, p in model.named_parameters() if p.dim() > 1}
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)

    def apply_masks(self) -> None:
        """Multiply the masks into the weights."""
        for name, parameter in self.model.named_parameters():
            if name in self.masks:
                parameter.data *= self.masks[name]

    def train(self, steps: int) -> None:
        """So many steps, in epochs of the whole set."""
        running_loss = 0.0
        for images, labels in islice(self._epochs(), steps):
            self.model.train()
            self.optimizer.zero_grad()
            self.apply_masks()
            loss = cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            running_loss += loss.item()

    def evaluate(self) -> None:
        """Test loss and accuracy, as after every epoch."""
        self.model.eval()
        loss, right = 0.0, 0
        with torch.no_grad():
            self.apply_masks()
            for images, labels in self.test_loader:
                output = self.model(images)
                loss += cross_entropy(output, labels, reduction="sum").item()
                right += (output.argmax(1) == labels).sum().item()

    def _epochs(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.train_loader
