"""Several sets as one: their examples in a row and their classes counted on, for a network with a head for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from oneticket.data.data import Data, Examples, Member
from oneticket.data.images.stream import Stream
from oneticket.data.reading import Part, Reading
from oneticket.data.spec import DataSpec
from oneticket.ground.canon import digest
from oneticket.ground.errors import DataError


def joined(spec: DataSpec, parts: Sequence[Data]) -> Data:
    """The sets of a spec, each loaded by itself, as one.

    Labels of the second set begin where the first one's end, and so on. Inputs are scaled by their own set's moments.
    8-bit images become float32 in 0..1 where another set's are float32. All is copied: the union takes as many bytes as
    its sets together, twice as many while it is made.

    Raises DataError for a set that is streamed, targets that are no classes, and unlike inputs.

    >>> from oneticket.data.load import load
    >>> both = load(DataSpec(name=["digits:a", "digits:b"], classes=4))
    >>> both.classes[3:5], both.train.targets.unique().tolist(), len(both.mean)
    (('digits:a 3', 'digits:b 0'), [0, 1, 2, 3, 4, 5, 6, 7], 2)
    """
    _check(spec, parts)
    names = _names(spec)
    members = tuple(
        Member(
            name=name,
            outputs=each.outputs,
            examples=len(each.train),
            tests=len(each.test),
            flip=each.flip,
            crop=each.crop,
        )
        for name, each in zip(names, parts, strict=True)
    )
    classes = tuple(f"{name} {one}" for name, each in zip(names, parts, strict=True) for one in each.classes)
    return Data(
        train=_row([each.train for each in parts], members),
        test=_row([each.test for each in parts], members),
        inputs=parts[0].inputs,
        outputs=sum(each.outputs for each in parts),
        classes=classes,
        mean=tuple(value for each in parts for value in each.mean),
        std=tuple(value for each in parts for value in each.std),
        digest=digest(["several sets", [each.digest for each in parts], spec.temperature]),
        device=parts[0].device,
        reading=_reading(spec, parts, classes),
        flip=any(each.flip for each in parts),
        crop=max(each.crop for each in parts),
        members=members,
        temperature=spec.temperature,
    )


def order(data: Data, generator: torch.Generator) -> torch.Tensor:
    """Positions int64 (N,) of an epoch's examples, for N training examples.

    One set, or several at temperature 1: each example once. Otherwise set i of size n_i gets the whole number of places
    nearest to N n_i^(1/T) / sum_j n_j^(1/T). Its examples are repeated as often as needed, each time in a new order,
    and the places of all sets are mixed.
    """
    if data.temperature == 1:
        return torch.randperm(len(data.train), generator=generator, device="cpu")
    sizes = [member.examples for member in data.members]
    places, first = [], 0
    for size, count in zip(sizes, shares(sizes, data.temperature), strict=True):
        rounds = [torch.randperm(size, generator=generator, device="cpu") for _ in range(-(-count // size))]
        places.append(first + torch.cat([*rounds, torch.empty(0, dtype=torch.int64, device="cpu")])[:count])
        first += size
    mixed = torch.cat(places)
    return mixed[torch.randperm(len(mixed), generator=generator, device="cpu")]


def shares(sizes: Sequence[int], temperature: float) -> list[int]:
    """How many of an epoch's examples each set gives: whole numbers that add up, by largest remainders.

    >>> shares([900, 100], 1), shares([900, 100], 2), shares([900, 100], 1000)
    ([900, 100], [750, 250], [501, 499])
    """
    largest = max(sizes)
    weights = [(size / largest) ** (1 / temperature) for size in sizes]
    exact = [sum(sizes) * weight / sum(weights) for weight in weights]
    counts = [int(each) for each in exact]
    by_rest = sorted(range(len(sizes)), key=lambda at: (counts[at] - exact[at], at))
    for at in by_rest[: sum(sizes) - sum(counts)]:
        counts[at] += 1
    return counts


def _check(spec: DataSpec, parts: Sequence[Data]) -> None:
    first = parts[0]
    for each, part in zip(spec.members, parts, strict=True):
        if isinstance(part.train, Stream):
            raise DataError(
                f"{each.name} is streamed, but several datasets together must fit into memory; leave it out"
            )
        if not part.classes:
            raise DataError(
                f"{each.name}: it has no classes, and only datasets with classes can share a network; leave it out"
            )
        if part.inputs != first.inputs:
            raise DataError(
                f"{each.name} gives {part.inputs}, {spec.name} {first.inputs}; one network takes both only if they are "
                "alike: set one size and channels for all, or none"
            )


def _names(spec: DataSpec) -> list[str]:
    """What the sets are called; of two of one name the second has a number."""
    seen = Counter[str]()
    names = []
    for each in spec.members:
        seen[each.name] += 1
        names.append(each.name if seen[each.name] == 1 else f"{each.name} {seen[each.name]}")
    return names


def _row(parts: Sequence[Examples | Stream], members: Sequence[Member]) -> Examples:
    held = [part for part in parts if isinstance(part, Examples)]
    inputs = [part.inputs for part in held]
    if len({each.dtype for each in inputs}) > 1:
        inputs = [each if each.is_floating_point() else each.float().div_(255) for each in inputs]
    first, targets = 0, []
    for part, member in zip(held, members, strict=True):
        targets.append(part.targets + first)
        first += member.outputs
    return Examples(inputs=torch.cat(inputs), targets=torch.cat(targets))


def _reading(spec: DataSpec, parts: Sequence[Data], classes: tuple[str, ...]) -> Reading:
    """How the sets were read, as one; how each was, in its notes."""
    readings = [part.reading for part in parts]

    def part(which: str, examples: int) -> Part:
        return Part(origin=f"the {which} parts of {len(parts)} sets", examples=examples, classes=len(classes))

    return Reading(
        where=spec.called,
        classes=classes,
        train=part("training", sum(len(each.train) for each in parts)),
        test=part("test", sum(len(each.test) for each in parts)),
        notes=(
            *dict.fromkeys(str(each).removesuffix(".") for each in readings),
            *(
                line
                for name, each in zip(spec.members, parts, strict=True)
                for line in each.reading.selected(name.called, len(each.train))
            ),
        ),
        about=readings[0].about.partition(",")[0],
        noun=readings[0].noun if len({each.noun for each in readings}) == 1 else ("example", "examples"),
    )
