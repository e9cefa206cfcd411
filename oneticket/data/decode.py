"""Encoded images to pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oneticket.ground.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Item = bytes | str
"""One encoded image: its bytes, or the path of its file."""


def opened(item: Item, where: str, channels: int | None = None) -> Image.Image:
    """Decode one image to 8-bit grey (`channels` 1) or RGB (3), or whichever it is; raises DataError naming `where`."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(item if isinstance(item, bytes) else Path(item).read_bytes()))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        shown = f"{len(item)} bytes" if isinstance(item, bytes) else item
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(
            f"{where}: cannot decode an image ({shown}): {reason}; replace the file and try again"
        ) from None
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{where}: expected 8-bit images, got mode {image.mode!r}; convert them, or use float32 in an .npz file"
        )
    grey = channels == 1 if channels else image.mode in ("1", "L", "LA")
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)


def centre(image: Image.Image, size: int, edge: int) -> Image.Image:
    """Resize so that the shorter side is `edge` pixels and keep the `size` x `size` middle."""
    from PIL.Image import Resampling

    width, height = image.size
    scale = edge / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    image = image if image.size == (width, height) else image.resize((width, height), Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """An image as uint8 (C, H, W)."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def stack(items: Sequence[Item], where: str, size: int | None) -> NDArray[np.uint8]:
    """Decode all images to one uint8 array (N, C, H, W).

    Images that differ in size need `size`, and are then resized on the shorter side and cropped to the middle.
    A set with any colour image is a colour set. Raises DataError for a damaged image or differing sizes without `size`.
    """
    images: list[Image.Image] = []
    mixed = False
    for item in items:
        image = opened(item, where)
        if not mixed and images and image.size != images[0].size:
            if size is None:
                some = " and ".join(f"{width} x {height}" for width, height in (images[0].size, image.size))
                raise DataError(f"{where}: images differ in size ({some}); set size, for example size=32")
            mixed, images = True, [centre(seen, size, size) for seen in images]
        # Cropped as they come: a folder of photographs would not fit in memory at full size.
        images.append(centre(image, size, size) if mixed and size else image)
    if len({image.mode for image in images}) > 1:
        images = [image.convert("RGB") for image in images]
    return np.stack([pixels(image) for image in images])
