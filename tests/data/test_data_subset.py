import hashlib

import numpy as np
import pytest

from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.data.subset import half, held_out, some

LABELS = {
    "balanced": np.arange(1000) % 10,
    "odd": np.arange(777) % 7,
    "skewed": np.floor(10 * np.linspace(0, 1, 500, endpoint=False) ** 3).astype(np.int64),
    "one": np.zeros(5, np.int64),
}
laws = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)


@laws
def test_halves_are_disjoint_complete_and_balanced(labels):
    a, b = half(labels, "a"), half(labels, "b")
    assert sorted([*a, *b]) == list(range(len(labels)))
    counts = [np.bincount(labels[rows], minlength=10) for rows in (a, b)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    assert not np.array_equal(a, np.arange(len(a)))


@laws
def test_held_out_fifth_is_disjoint_complete_and_in_proportion(labels):
    train, test = held_out(labels)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert len(test) == np.ceil(0.2 * len(labels))
    assert np.abs(np.bincount(labels[test], minlength=10) - 0.2 * np.bincount(labels, minlength=10)).max() < 1


@laws
def test_fewer_per_class_are_among_more(labels):
    few, more = some(labels, 1), some(labels, 2) if np.bincount(labels).min() > 1 else some(labels, 1)
    assert set(few) <= set(more)
    assert set(np.bincount(labels[few])) == {1}


def test_arrangements_are_fixed_for_ever():
    labels = LABELS["balanced"]
    parts = [half(labels, "a"), some(labels, 7), held_out(labels)[1]]
    assert [hashlib.sha256(part.astype("<i8").tobytes()).hexdigest()[:12] for part in parts] == [
        "de55480cbf50",
        "b5090014f2ba",
        "d5ad377ed259",
    ]


def test_cifar_halves_as_in_the_paper(shared):
    whole, a, b = (load(DataSpec(name=name)) for name in ("cifar10", "cifar10:a", "cifar10:b"))
    assert a.train.targets.bincount().tolist() == b.train.targets.bincount().tolist() == [1000] * 10
    assert len({a.digest, b.digest, whole.digest}) == 3
    pixels = [{image.numpy().tobytes() for image in data.train.inputs} for data in (whole, a, b)]
    assert pixels[1] | pixels[2] == pixels[0]
    assert len(pixels[1] & pixels[2]) <= len(whole.train) - len(pixels[0])  # the set itself holds a few doubles
    assert a.test.inputs.equal(whole.test.inputs)
    assert load(DataSpec(name="cifar10:a")).train.inputs.equal(a.train.inputs)


def test_classes_restrict_both_parts_and_per_class_the_training_part_only():
    whole, few = load(DataSpec(name="digits")), load(DataSpec(name="digits", classes=3, per_class=20))
    assert few.classes == ("0", "1", "2")
    assert few.train.targets.bincount().tolist() == [20, 20, 20]
    assert len(few.test) == int((whole.test.targets < 3).sum())
    assert load(DataSpec(name="digits:b", classes=3, per_class=20)).digest != few.digest
