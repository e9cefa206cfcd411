"""Which examples of a set are used: halves, first classes, so many per class, and a held-out fifth.

All arrangements are fixed for ever: they depend on the labels and the draw alone, on no library version or machine.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from oneticket.data.spec import DataSpec
from oneticket.ground.errors import SelectionError

Ints = NDArray[np.int64]


def half(labels: Ints, which: str) -> Ints:
    """Positions of half `a` or `b`, ascending: disjoint, together everything, and equal per class but for an odd one.

    Odd classes give their extra example to a and b in turn.

    >>> [half(np.array([0, 1, 0, 1]), which).tolist() for which in "ab"]
    [[0, 3], [1, 2]]
    """
    parts = []
    for label, shuffled in _by_class(labels, "half"):
        cut = (len(shuffled) + (label % 2 == 0)) // 2
        parts.append(shuffled[:cut] if which == "a" else shuffled[cut:])
    return _join(parts)


def some(labels: Ints, per_class: int, draw: int | None = None) -> Ints:
    """Positions of `per_class` examples of each class, ascending; of one draw, fewer are always among more.

    Raises SelectionError where a class has not so many.

    >>> np.array([0, 1, 0, 1])[some(np.array([0, 1, 0, 1]), 1)].tolist()
    [1, 0]
    """
    groups = _by_class(labels, "some" if draw is None else f"some, draw {draw}")
    for label, shuffled in groups:
        if len(shuffled) < per_class:
            raise SelectionError(
                f"per_class={per_class}: class {label} has only {len(shuffled)} training examples; ask for fewer"
            )
    return _join([shuffled[:per_class] for _, shuffled in groups])


def held_out(labels: Ints, share: float = 0.2) -> tuple[Ints, Ints]:
    """Positions for training and test of a set with one split: `ceil(share * n)` for test, classes in proportion.

    The only example of a class stays in training, so that where most classes have one, fewer are held out.

    >>> [len(part) for part in held_out(np.arange(50) % 5)]
    [40, 10]
    """
    groups = [shuffled for _, shuffled in _by_class(labels, "held out")]
    exact = np.array([share * len(group) for group in groups])
    counts = np.floor(exact).astype(int)
    left = int(np.ceil(share * len(labels))) - int(counts.sum())
    several = np.array([len(group) > 1 for group in groups], dtype=bool)
    taken = np.argsort(np.where(several, counts - exact, np.inf), kind="stable")[:left]
    counts[taken[several[taken]]] += 1
    pairs = list(zip(groups, counts, strict=True))
    return _join([group[count:] for group, count in pairs]), _join([group[:count] for group, count in pairs])


def choose(spec: DataSpec, train: Ints, test: Ints, classes: int, *, halve: bool = True) -> tuple[Ints, Ints]:
    """Positions of the training and test examples that a spec asks for, given the labels of both parts.

    Half (where it is not taken already), then classes, then per class, or so many of the test part. Raises
    SelectionError where there are too few.
    """
    first, last = class_range(spec, classes)
    rows = half(train, spec.half) if spec.half and halve else np.arange(len(train))
    rows = rows[(train[rows] >= first) & (train[rows] < last)]
    if spec.per_class:
        rows = rows[some(train[rows], spec.per_class, spec.draw)]
    rest = np.flatnonzero((test >= first) & (test < last))
    return rows, rest if spec.test_examples is None else rest[fewer(test[rest], spec.test_examples)]


def class_range(spec: DataSpec, classes: int) -> tuple[int, int]:
    """The first class that a spec selects, and the one after the last. Raises SelectionError for missing classes.

    >>> class_range(DataSpec(name="digits", classes=3, classes_from=5), 10)
    (5, 8)
    """
    count = classes - spec.classes_from if spec.classes is None else spec.classes
    if count < 1 or spec.classes_from + count > classes:
        begins = f"classes_from={spec.classes_from}, " if spec.classes_from else ""
        raise SelectionError(f"{begins}classes={spec.classes or 'all'}: {spec.set} has only {classes} classes")
    return spec.classes_from, spec.classes_from + count


def fewer(labels: Ints, count: int) -> Ints:
    """Positions of at most `count` examples, ascending, of all classes in turn; always the same ones.

    >>> fewer(np.array([0, 0, 0, 1, 1, 1]), 2).tolist()
    [0, 5]
    """
    if len(labels) <= count:
        return np.arange(len(labels))
    groups = [shuffled for _, shuffled in _by_class(labels, "fewer")]
    turns = np.concatenate([np.arange(len(group)) for group in groups])
    return np.sort(np.concatenate(groups)[np.argsort(turns, kind="stable")[:count]])


def _by_class(labels: Ints, purpose: str) -> list[tuple[int, Ints]]:
    """Each class with its positions in a fixed scattered order."""
    name = purpose.encode()
    seed = name if len(name) <= 8 else hashlib.sha256(name).digest()[:8]
    keys = _scatter(len(labels), int.from_bytes(seed, "little"))
    order = np.lexsort((keys, labels))
    found, starts = np.unique(labels[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True)) if len(labels) else []


def _scatter(count: int, seed: int) -> NDArray[np.uint64]:
    """A key per position by the SplitMix64 hash; no library promises to keep its own permutations for ever."""
    z = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31))


def _join(parts: list[Ints]) -> Ints:
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)
