"""What planning must know of a dataset: what its inputs are, how many outputs and examples, the content's digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oneticket.data.reading import Reading
from oneticket.data.spec import DataSpec
from oneticket.ground.brief import brief
from oneticket.ground.canon import digest
from oneticket.ground.errors import SpecError
from oneticket.task.inputs import Inputs

if TYPE_CHECKING:
    from oneticket.data.data import Data


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of a set as a spec and a task ask for it.

    `outputs`: how many a network needs: one for each class, number or word. `examples`: of the training part.
    `reading`: how the whole set was read; None of a set that is not available.
    """

    inputs: Inputs
    outputs: int
    examples: int
    digest: str
    reading: Reading | None = field(default=None, repr=False, compare=False)

    __repr__ = brief

    def plain(self) -> dict[str, Any]:
        """As JSON values; `Facts.read` takes them back."""
        reading = self.reading.plain() if self.reading else None
        return {**asdict(replace(self, reading=None)), "inputs": self.inputs.plain(), "reading": reading}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Facts:
        """From what `plain` gave."""
        reading = Reading.read(plain["reading"]) if plain["reading"] else None
        return cls(**{**plain, "inputs": Inputs.read(plain["inputs"]), "reading": reading})


def per_epoch(data: Data | Facts, batch: int) -> int:
    """Training steps in an epoch: full batches only, or one short batch if the set has fewer examples than one.

    Raises SpecError for a batch size below 1.
    """
    if batch < 1:
        raise SpecError(f"expected a batch size of at least 1, got {batch}")
    return max(1, (data.examples if isinstance(data, Facts) else len(data.train)) // batch)


def nominal(spec: DataSpec, inputs: Inputs | None = None) -> Facts | None:
    """The published facts of a known set that is not available; None for an unknown set.

    `inputs`: the form of the images where the spec sets no size or channels. The content is unknown, so the digest
    covers the selection only: equal selections count as equal data.

    >>> found = nominal(DataSpec(name="imagenet", classes=100))
    >>> found.inputs, found.outputs, found.examples, found.digest[:13]
    (Inputs(shape=(3, 224, 224)), 100, 128100, 'not available')
    """
    if spec.beside:
        return _together([nominal(each, inputs) for each in spec.members])
    if spec.set not in PUBLISHED or (inputs and inputs.kind != "images"):
        return None
    own, all_classes, all_images = PUBLISHED[spec.set]
    channels, height, width = inputs.shape if inputs else own
    classes = min(spec.classes or all_classes, all_classes - spec.classes_from)
    per_class = all_images // all_classes // (2 if spec.half else 1)
    taken = Inputs(shape=(spec.channels or channels, spec.size or height, spec.size or width))
    which = [spec.name, spec.classes_from, classes, spec.per_class, spec.draw, taken.plain()]
    return Facts(
        inputs=taken,
        outputs=classes,
        examples=classes * min(spec.per_class or per_class, per_class),
        digest=f"not available: {digest(which)[:16]}",
    )


def _together(each: Sequence[Facts | None]) -> Facts | None:
    """Several sets as one, for inputs like the first one's."""
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return None
    outputs, examples = sum(one.outputs for one in known), sum(one.examples for one in known)
    both = f"not available: {digest([one.digest for one in known])[:16]}"
    return Facts(inputs=known[0].inputs, outputs=outputs, examples=examples, digest=both)


# Shape, classes and training images of the official sets; those that are streamed at the size that they are cut to.
PUBLISHED: dict[str, tuple[tuple[int, int, int], int, int]] = {
    "mnist": ((1, 28, 28), 10, 60_000),
    "fashion_mnist": ((1, 28, 28), 10, 60_000),
    "svhn": ((3, 32, 32), 10, 73_257),
    "cifar10": ((3, 32, 32), 10, 50_000),
    "cifar100": ((3, 32, 32), 100, 50_000),
    "imagenet": ((3, 224, 224), 1_000, 1_281_167),
    "places365": ((3, 224, 224), 365, 1_803_460),
}
