"""Sets too large to hold: images decoded, cropped and resized batch by batch in worker processes.

What an image becomes depends on its dice alone, so the number of workers changes nothing but speed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from oneticket.data.images.decode import Item, centre, opened, pixels
from oneticket.ground.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Order = tuple[list[int], list[int] | None]  # image positions, and a number each for random crops (None: centre crops)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """Encoded images and their targets, read as uint8 (C, H, W) by `workers` processes (0: by this one).

    Training images are random resized crops: area 8 to 100 %, aspect 3/4 to 4/3, mirrored half the time if `flip`.
    Test images are resized to size / 0.875 on the shorter side and cropped to the middle.
    """

    items: Sequence[Item]
    targets: torch.Tensor
    shape: tuple[int, int, int]
    flip: bool
    workers: int
    where: str

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, orders: Iterable[Order], *, pinned: bool = False) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images uint8 (B, C, H, W) and targets for each order, in order; raises DataError for a damaged image.

        `pinned`: in page-locked memory, from where a CUDA device takes them while it computes.
        """
        loader: DataLoader[Any] = DataLoader(
            _Orders(self),
            batch_sampler=orders,  # type: ignore[arg-type]
            collate_fn=_same,
            num_workers=self.workers,
            pin_memory=pinned,
            generator=torch.Generator(),  # else the loader draws its workers' seed from the global state
        )
        for found in loader:
            if isinstance(found, DataError):
                raise found
            yield found

    def whole(self, batch: int, *, pinned: bool = False) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Every image once, in order, as a centre crop."""
        orders = ((list(range(at, min(at + batch, len(self)))), None) for at in range(0, len(self), batch))
        return self.read(orders, pinned=pinned)


class _Orders(Dataset[object]):
    """What a worker holds."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getitems__(self, order: Order) -> tuple[torch.Tensor, torch.Tensor] | DataError:
        stream, (rows, dice) = self._stream, order
        channels, size, _ = stream.shape
        made = []
        try:
            for at, row in enumerate(rows):
                image = opened(stream.items[row], stream.where, channels)
                if dice is None:
                    image = centre(image, size, round(size / 0.875))
                else:
                    image = random_crop(image, size, dice[at], flip=stream.flip)
                made.append(pixels(image))
        except (
            DataError
        ) as error:  # handed over as a value: raised here it would arrive wrapped in a worker's traceback
            return error
        return torch.from_numpy(np.stack(made)), stream.targets[rows]


def random_crop(image: Image.Image, size: int, seed: int, *, flip: bool) -> Image.Image:
    """A random part of an image, resized to `size` x `size`, mirrored half the time if `flip`: a function of the seed.

    Area uniform in 8 to 100 % of the image, aspect log-uniform in 3/4 to 4/3; the largest middle square if ten draws do
    not fit.
    Source: Szegedy et al., Going Deeper with Convolutions, 2015.
    """
    from PIL.Image import Resampling, Transpose

    draw = random.Random(seed)
    width, height = image.size
    for _ in range(10):
        area = width * height * draw.uniform(0.08, 1)
        aspect = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            left, top = draw.randint(0, width - wide), draw.randint(0, height - high)
            break
    else:
        wide = high = min(width, height)
        left, top = (width - wide) // 2, (height - high) // 2
    part = image.resize((size, size), Resampling.BILINEAR, box=(left, top, left + wide, top + high))
    return part.transpose(Transpose.FLIP_LEFT_RIGHT) if flip and draw.random() < 0.5 else part


def _same(found: object) -> object:
    return found
