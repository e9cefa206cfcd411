"""What data is asked for, as a value. Nothing here looks at disks or imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from oneticket.ground.errors import unknown
from oneticket.ground.spec import Code, Later, Spec
from oneticket.ground.table import Table
from oneticket.ticket.names import joined

# The known sets, each with its usual flip and crop. Digits mean something else mirrored; ImageNet and Places365 are
# streamed, where every training image is a random resized crop already.
USUAL: Table[tuple[bool, int]] = Table(
    kind="dataset",
    rows={
        "diabetes": (False, 0),
        "digits": (False, 0),
        "mnist1d": (False, 0),
        "mnist": (False, 0),
        "fashion_mnist": (False, 0),
        "svhn": (False, 4),
        "cifar10": (True, 4),
        "cifar100": (True, 4),
        "imagenet": (True, 0),
        "places365": (True, 0),
    },
)

FILES = (".npz", ".parquet", ".csv", ".txt")
"""Suffixes of files that are sets by themselves."""


def own_path(name: str) -> str:
    """The path of the user's own function in a set's name, without a half; empty where it names no function.

    A half is a second colon: the `a` in `mine.py:a` is not a half. A name that may be a misspelt known set with a half
    is not a function.

    >>> [own_path(name) for name in ("mine.py:data:a", "mine.py:a", "package.module:a", "digits:a", "dgits:a")]
    ['mine.py:data', 'mine.py:a', 'package.module:a', '', '']
    """
    found = _OWN.fullmatch(name)
    if found is None:
        return ""
    place, function, half = found["place"], found["function"], found["half"]
    lone = "." not in place and function in ("a", "b") and not half
    return "" if lone or place in USUAL or place.endswith(FILES) else f"{place}:{function}"


_WORD = r"[^\W\d]\w*"
_OWN = re.compile(rf"(?P<place>.+\.py|{_WORD}(?:\.{_WORD})*):(?P<function>{_WORD}(?:\.{_WORD})*)(?P<half>:[ab])?")


def halved(name: str) -> tuple[str, Literal["a", "b"] | None]:
    """A set's name without its half, and which half of the training part it is, or None for all.

    >>> halved("digits:a"), halved("digits")
    (('digits', 'a'), ('digits', None))
    """
    last = name[len(own_path(name)) :]
    half: Literal["a", "b"] | None = "a" if last.endswith(":a") else "b" if last.endswith(":b") else None
    return (name[:-2] if half else name), half


def joint_name(data: Mapping[str, Any]) -> str:
    """What plain data are called: their name, or of several sets all names.

    >>> joint_name({"name": "cifar10", "beside": [{"name": "svhn"}]})
    'cifar10+svhn'
    """
    return joined(str(each["name"]) for each in (data, *data.get("beside", ())))


class DataSpec(Spec):
    """A dataset, or several at once, the part of it to use, and the shape and augmentation of its images.

    If `flip` or `crop` is not given, it becomes what is usual for the dataset, so that `plain()` is complete.

    A list of names means several datasets that share the other settings. In a list of specs, each has its own. The
    network has one trunk and a head for each dataset. Images are brought to the first dataset's shape.

    >>> DataSpec(name="cifar10:a").plain()["crop"], DataSpec(name="cifar10:a").half
    (4, 'a')
    >>> two = DataSpec(name=["cifar10:a", "mnist"], per_class=500)
    >>> [(each.name, each.crop) for each in two.members], two.called, two.set
    ([('cifar10:a', 4), ('mnist', 0)], 'cifar10:a+mnist', 'cifar10')
    """

    kind: ClassVar[str] = "data"
    repeated: ClassVar[str] = "Give it several times for one network with a head for each of several datasets."

    name: Annotated[str, Code(table=USUAL, path=own_path)] = Field(
        description="Dataset: a known name (digits, fashion_mnist, cifar10, ...), a Hub id (org/name), a folder of "
        "images, Parquet or CSV files, a .parquet, .csv, .npz or .txt file, or your own function as "
        "'file.py:function'. Add :a or :b for one of two fixed halves of the training part."
    )
    classes: int | None = Field(None, ge=2, description="Use only this many classes, from the first on. Default: all.")
    per_class: int | None = Field(
        None,
        ge=1,
        description="Use only this many training examples of each class. The test set stays whole. Default: all.",
    )
    size: int | None = Field(
        None, ge=1, le=4096, description="Height and width of the images in pixels. Default: the dataset's own."
    )
    channels: Literal[1, 3] | None = Field(
        None, description="Colour channels: 1 turns colour to grey, 3 repeats grey. Default: the dataset's own."
    )
    fit: Literal["resize", "pad"] = Field(
        "resize", description="How images are brought to another size: resized, or padded with black on all sides."
    )
    flip: bool | None = Field(
        None,
        validate_default=True,
        description="Mirror training images left to right at random. Default: what is usual for the dataset.",
    )
    crop: int | None = Field(
        None,
        ge=0,
        le=256,
        validate_default=True,
        description="Shift training images at random by up to this many pixels; 0 for none. Default: what is usual for "
        "the dataset.",
    )

    missing: Annotated[Literal["refuse", "fill"], Later(neutral="refuse", since="0.2")] = Field(
        "refuse",
        description="Missing values of a table: refuse them, or fill them with the median or the most frequent value "
        "of the training rows.",
    )
    label: Annotated[str | None, Later(neutral=None, since="0.2")] = Field(
        None, description="Column of a table that holds the labels. Default: label, labels, target, class or y."
    )
    length: Annotated[int | None, Later(neutral=None, since="0.2")] = Field(
        None,
        ge=1,
        le=65_536,
        description="How many bytes of a text the network reads at once. Default: the longest training text, at most "
        "256; 32 for one long text.",
    )

    draw: Annotated[int | None, Later(neutral=None, since="0.2")] = Field(
        None,
        ge=0,
        lt=2**63,
        description="Which random draw of per_class examples to use. Default: one fixed draw.",
    )
    classes_from: Annotated[int, Later(neutral=0, since="0.2")] = Field(
        0, ge=0, description="The first class to use, counted from 0. Together with classes it selects a range."
    )
    test_examples: Annotated[int | None, Later(neutral=None, since="0.2")] = Field(
        None,
        ge=1,
        description="Measure on at most this many test examples: always the same ones, equally many of each class. "
        "Default: all.",
    )

    beside: Annotated[tuple[DataSpec, ...], Later(neutral=[], since="0.2")] = Field(
        (), description="Further datasets, for which the same network has further heads."
    )
    temperature: Annotated[float, Later(neutral=1.0, since="0.2")] = Field(
        1.0,
        gt=0,
        description="How examples of several datasets are drawn: in proportion to size^(1/temperature). 1 draws by "
        "size, 100 draws nearly equally.",
    )

    @property
    def members(self) -> tuple[DataSpec, ...]:
        """Each set by itself; of one set that set."""
        return (self.but(beside=(), temperature=1.0), *self.beside) if self.beside else (self,)

    @property
    def called(self) -> str:
        """The name, or of several sets all names: `cifar10+svhn`."""
        return joined(each.name for each in self.members)

    @property
    def set(self) -> str:
        """The name without the half; of several sets the first one's."""
        return halved(self.name)[0]

    @property
    def half(self) -> Literal["a", "b"] | None:
        """Which half of the training part is used, or None for all; of several sets the first one's."""
        return halved(self.name)[1]

    @model_validator(mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """A list of sets, or of names with shared settings, as the first one with the others in `beside`."""
        if isinstance(given, list | tuple):
            if not given:
                raise ValueError("expected at least one dataset, got none")
            first, *rest = (cls.read(each) for each in given)
            return {**dict(first), "beside": (*first.beside, *rest)}
        if not isinstance(given, Mapping) or not isinstance(given.get("name"), list | tuple):
            return given
        first, *rest = given["name"] or [""]
        same = {name: value for name, value in given.items() if name not in ("beside", "temperature")}
        others = [{**same, "name": each} for each in rest]
        return {**given, "name": first, **({"beside": [*others, *given.get("beside", ())]} if others else {})}

    @model_validator(mode="after")
    def _joined(self) -> Self:
        if not self.beside:
            if self.temperature != 1:
                raise ValueError(f"temperature={self.temperature:g} is for several datasets; leave it out")
            return self
        if any(each.beside for each in self.beside):
            raise ValueError("expected one list of datasets, got a list within it; give all datasets in one list")
        if len(alike := {each.model_dump_json(): each.name for each in self.members}) < len(self.members):
            raise ValueError(f"expected datasets that differ, got one of {', '.join(alike.values())} twice")
        return self

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        bare = name[:-2] if name[-2:] in (":a", ":b") else name
        if own_path(name) or bare in USUAL or "/" in bare or "\\" in bare or bare.endswith(FILES):
            return name
        stem, colon, half = bare.rpartition(":")
        if colon and (stem in USUAL or own_path(stem)):
            raise ValueError(f"a half is ':a' or ':b', got ':{half}' in {name!r}")
        yours = "your own: 'file.py:function' or 'package.module:function'"
        files = f"or org/name on the Hub, ./folder, or a file: {', '.join(FILES)}"
        raise ValueError(f"{unknown('dataset', bare, USUAL)}; {files}; {yours}")

    @field_validator("draw")
    @classmethod
    def _of_some(cls, draw: int | None, info: ValidationInfo) -> int | None:
        if draw is not None and info.data.get("per_class") is None:
            raise ValueError("draws per_class examples of each class; give per_class, or leave it out")
        return draw

    @field_validator("flip")
    @classmethod
    def _usual_flip(cls, flip: bool | None, info: ValidationInfo) -> bool:
        return _usual(info)[0] if flip is None else flip

    @field_validator("crop")
    @classmethod
    def _usual_crop(cls, crop: int | None, info: ValidationInfo) -> int:
        return _usual(info)[1] if crop is None else crop


def _usual(info: ValidationInfo) -> tuple[bool, int]:
    return USUAL.get(str(info.data.get("name")).removesuffix(":a").removesuffix(":b"), (False, 0))
