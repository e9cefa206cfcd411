"""What was read of a set and what was not: which folder or split became which part, what was left out, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from oneticket.ground.brief import brief

NAMED = 6  # classes that the line names; of more it gives the number alone


@dataclass(frozen=True, kw_only=True)
class Part:
    """The folder, split or array that a part came from, its number of examples, and of the classes they are of."""

    origin: str
    examples: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How many files or examples were not read, why (`hidden`, `in no class folder`), and one of them."""

    count: int
    reason: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.count:,} {self.reason}" + (f" ({self.example})" if self.example else "")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a set was read. Its text is one line.

    `where`: its path or name. `classes`: their names, in the order of the labels; none where targets are no classes.
    `about`: what inputs and targets are, where that is not images and classes. `noun`: what an example is called, and
    several are. `notes`: whole sentences about what else is not as it seems.

    >>> train, test = (Part(origin=f"{name}/", examples=30, classes=2) for name in ("Train", "Test"))
    >>> hidden = LeftOut(count=2, reason="hidden", example="cat/.x")
    >>> print(Reading(where="pet", classes=("cat", "dog"), train=train, test=test, left_out=(hidden,)))
    pet: 2 classes (cat, dog). Training: 30 images from Train/. Test: 30 images from Test/. Left out: 2 hidden (cat/.x).
    """

    where: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    about: str = ""
    noun: tuple[str, str] = ("image", "images")

    __repr__ = brief

    def __str__(self) -> str:
        few = len(self.classes) <= NAMED
        named = f" ({', '.join(self.classes)})" if few else ""
        classes = f"{len(self.classes):,} classes{named}" if self.classes else ""
        sentences = [f"{self.where}: {', '.join(filter(None, [self.about, classes]))}"]
        sentences += [f"Training: {self._part(self.train)}", f"Test: {self._part(self.test)}"]
        sentences += [f"Left out: {'; '.join(map(str, self.left_out))}"] if self.left_out else []
        return one_line(". ".join([*sentences, *self.notes]) + ".")

    def _part(self, part: Part) -> str:
        fewer = f" of {counted(part.classes, 'class', 'classes')}" if part.classes < len(self.classes) else ""
        return f"{counted(part.examples, *self.noun)}{fewer} from {part.origin}"

    def selected(self, name: str, examples: int) -> tuple[str, ...]:
        """How many of the training examples a selection of that name has; nothing where it has all.

        >>> both = Part(origin="a file", examples=30, classes=2)
        >>> Reading(where="pet", classes=("cat", "dog"), train=both, test=both).selected("pet:a", 15)
        ('pet:a: 15 of 30 images',)
        """
        whole = self.train.examples
        return () if examples == whole else (f"{name}: {examples:,} of {counted(whole, *self.noun)}",)

    def plain(self) -> dict[str, Any]:
        """As JSON values; `Reading.read` takes them back."""
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Reading:
        """From what `plain` gave."""
        return cls(
            where=plain["where"],
            classes=tuple(plain["classes"]),
            train=Part(**plain["train"]),
            test=Part(**plain["test"]),
            left_out=tuple(LeftOut(**each) for each in plain["left_out"]),
            notes=tuple(plain["notes"]),
            about=plain["about"],
            noun=tuple(plain["noun"]),
        )


def counted(count: int, one: str, more: str) -> str:
    """A number with its noun.

    >>> counted(1, "class", "classes")
    '1 class'
    """
    return f"{count:,} {one if count == 1 else more}"


def one_line(text: str) -> str:
    """Text from file names as a terminal shows it: in one line, control characters and broken letters as escapes.

    >>> one_line("a\\nb")
    'a\\\\nb'
    """
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def summed(found: Iterable[tuple[str, str]]) -> tuple[LeftOut, ...]:
    """Files left out, as (reason, path), counted by their reasons; the example is the first of each.

    >>> summed([("hidden", "a/.x"), ("hidden", ".y")])
    (LeftOut(count=2, reason='hidden', example='a/.x'),)
    """
    groups: dict[str, list[str]] = {}
    for reason, path in found:
        groups.setdefault(reason, []).append(path)
    return tuple(LeftOut(count=len(paths), reason=reason, example=paths[0]) for reason, paths in groups.items())
