"""What planning must know of a dataset: image shape, classes, number of training images, and the content's digest."""

from __future__ import annotations

from dataclasses import dataclass, field

from oneticket.data.images.adapt import Shape
from oneticket.data.reading import Reading
from oneticket.data.spec import DataSpec
from oneticket.ground.brief import brief


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of a set as a spec asks for it: shape (C, H, W), `classes` and training `images` are counts.

    `reading`: how the whole set was read; None of a set that is not at hand.
    """

    shape: Shape
    classes: int
    images: int
    digest: str
    reading: Reading | None = field(default=None, repr=False, compare=False)

    __repr__ = brief


def nominal(spec: DataSpec, like: Shape | None = None) -> Facts | None:
    """The facts of a known set that is not at hand, as published; None if it is not a known one. No digest is known.

    >>> nominal(DataSpec(name="imagenet", classes=100))
    Facts(shape=(3, 224, 224), classes=100, images=128100, digest='not at hand')
    """
    if spec.set not in PUBLISHED:
        return None
    own, all_classes, all_images = PUBLISHED[spec.set]
    channels, height, width = like or own
    classes = min(spec.classes or all_classes, all_classes)
    per_class = all_images // all_classes // (2 if spec.half else 1)
    return Facts(
        shape=(spec.channels or channels, spec.size or height, spec.size or width),
        classes=classes,
        images=classes * min(spec.per_class or per_class, per_class),
        digest="not at hand",
    )


# Shape, classes and training images of the official sets; those that are streamed at the size that they are cut to.
PUBLISHED: dict[str, tuple[Shape, int, int]] = {
    "mnist": ((1, 28, 28), 10, 60_000),
    "fashion_mnist": ((1, 28, 28), 10, 60_000),
    "svhn": ((3, 32, 32), 10, 73_257),
    "cifar10": ((3, 32, 32), 10, 50_000),
    "cifar100": ((3, 32, 32), 100, 50_000),
    "imagenet": ((3, 224, 224), 1_000, 1_281_167),
    "places365": ((3, 224, 224), 365, 1_803_460),
}
