"""Encoded images to pixels."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oneticket.data.images.png import Item as Item
from oneticket.data.images.png import plain_pngs
from oneticket.ground.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112  # the EXIF tag
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What a file may be that does not end like an image."""


def is_image(path: str) -> bool:
    """Whether the first bytes of a file are those of an image; raises OSError if it cannot be read."""
    from PIL import Image

    Image.init()
    # Plugins of Pillow raise many kinds of errors: a file that need not be an image is not one.
    with open(path, "rb") as file, contextlib.suppress(Exception):
        Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
        return True
    return False


def opened(item: Item, where: str, channels: int | None = None, *, remarks: Counter[str] | None = None) -> Image.Image:
    """Decode an image to 8-bit grey (`channels` 1) or RGB (3), by default as stored; raises DataError naming `where`.

    A photo is turned upright by its EXIF data, only the first of several frames is read, and transparency is dropped;
    `remarks` counts these.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    shown = f"{len(item)} bytes" if isinstance(item, bytes) else item
    try:
        image: Image.Image = Image.open(io.BytesIO(item if isinstance(item, bytes) else _bytes(item)))
        image.load()
        if image.mode.startswith(("I", "F")):
            raise DataError(
                f"{where}: expected 8-bit images, got mode {image.mode!r} ({shown}); convert them, or use float32 in "
                "an .npz file"
            )
        if remarks is not None:
            remarks.update(name for name, is_so in REMARKS.items() if is_so(image))
        image = ImageOps.exif_transpose(image) if _turned(image) else image
        grey = channels == 1 if channels else image.mode in ("1", "L", "LA")
        mode = "L" if grey else "RGB"
        return image if image.mode == mode else image.convert(mode)
    except DataError:
        raise
    except Exception as error:  # Pillow's plugins raise anything where a file is damaged
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(
            f"{where}: cannot decode an image ({shown}): {reason}; replace the file and try again"
        ) from None


def _turned(image: Image.Image) -> bool:
    """Whether a camera noted that it was held otherwise."""
    try:
        return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception:  # broken notes of a camera raise anything, and are no reason to refuse the picture
        return False


def _transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    least = image.convert("RGBA").getchannel("A").getextrema()[0]
    return isinstance(least, (int, float)) and least < 255


def _several(image: Image.Image) -> bool:
    # MPO is how phones keep a photo with its previews.
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


REMARKS = {
    "images are turned upright, as their EXIF data say": _turned,
    "images are partly transparent, which is dropped": _transparent,
    "images have several frames or pages, of which the first is read": _several,
}


def _bytes(path: str) -> bytes:
    """A file's content. What a table names as a file may be a device, which has no end."""
    if not os.path.isfile(path):
        raise OSError("it is no file")
    return Path(path).read_bytes()


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


def stack(
    items: Sequence[Item], where: str, size: int | None, *, remarks: Counter[str] | None = None
) -> NDArray[np.uint8]:
    """Decode all images to one uint8 array (N, C, H, W); `remarks` as for `opened`.

    Images that differ in size need `size`, and are then resized on the shorter side and cropped to the middle.
    A set with any colour image is a colour set. Raises DataError for a damaged image or differing sizes without `size`.
    """
    if (pixels_of_all := plain_pngs(items)) is not None:
        return pixels_of_all
    images: list[Image.Image] = []
    mixed = False
    for item in items:
        image = opened(item, where, remarks=remarks)
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
