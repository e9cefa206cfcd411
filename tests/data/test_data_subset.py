import hashlib

import numpy as np
import pytest

from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.data.subset import fewer, half, held_out, some
from oneticket.ground.errors import DataError, SpecError

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
    parts = [half(labels, "a"), some(labels, 7), held_out(labels)[1], some(labels, 7, 0), fewer(labels, 70)]
    assert [hashlib.sha256(part.astype("<i8").tobytes()).hexdigest()[:12] for part in parts] == [
        "de55480cbf50",
        "b5090014f2ba",
        "d5ad377ed259",
        "412b41dc43c5",
        "909b1ddfd8e5",
    ]


@laws
def test_draws_are_balanced_and_differ(labels):
    most = int(np.bincount(labels)[np.unique(labels)].min())
    draws = [some(labels, min(5, most), draw) for draw in (None, 0, 1, 2)]
    assert {tuple(np.bincount(labels[rows])) for rows in draws} == {tuple(np.bincount(labels[draws[0]]))}
    assert set(some(labels, 1, 3)) <= set(some(labels, min(5, most), 3))
    if most > 5:
        assert len({tuple(rows) for rows in draws}) == 4


@laws
def test_fewer_test_examples_are_balanced_as_far_as_there_are(labels):
    for count in (1, 3, 40, len(labels), len(labels) + 1):
        rows = fewer(labels, count)
        assert len(rows) == len(set(rows)) == min(count, len(labels))
        left, taken = (np.bincount(labels[chosen], minlength=10) for chosen in (np.arange(len(labels)), rows))
        assert all(taken[one] >= min(left[one], taken.max() - 1) for one in np.unique(labels))
    assert set(fewer(labels, 3)) <= set(fewer(labels, 40))


def test_a_draw_of_a_set_is_another_set_with_the_same_test_part():
    sets = [load(DataSpec(name="digits", per_class=20, draw=draw)) for draw in (None, 0, 1)]
    assert len({data.digest for data in sets}) == 3
    assert not sets[1].train.inputs.equal(sets[2].train.inputs)
    assert sets[1].test.inputs.equal(sets[2].test.inputs)
    with pytest.raises(SpecError, match=r"draw: draws per_class examples of each class; give per_class"):
        DataSpec(name="digits", draw=1)


def test_classes_from_takes_the_rest_or_so_many_and_counts_them_from_zero():
    first, last = (load(DataSpec(name="digits", classes=5, classes_from=at)) for at in (0, 5))
    whole = load(DataSpec(name="digits"))
    assert last.classes == ("5", "6", "7", "8", "9")
    assert last.outputs == 5
    assert sorted(set(last.train.targets.tolist())) == sorted(set(last.test.targets.tolist())) == list(range(5))
    assert len(first.train) + len(last.train) == len(whole.train)
    assert last.test.inputs.equal(whole.test.inputs[whole.test.targets >= 5])
    assert load(DataSpec(name="digits", classes_from=7)).classes == ("7", "8", "9")
    with pytest.raises(DataError, match=r"classes_from=7, classes=5: digits has only 10 classes"):
        load(DataSpec(name="digits", classes=5, classes_from=7))
    with pytest.raises(DataError, match=r"classes_from=10, classes=all: digits has only 10 classes"):
        load(DataSpec(name="digits", classes_from=10))


def test_so_many_test_examples_leave_training_alone():
    whole, few = load(DataSpec(name="digits")), load(DataSpec(name="digits", test_examples=50))
    assert few.test.targets.bincount().tolist() == [5] * 10
    assert few.train.inputs.equal(whole.train.inputs)
    assert few.digest != whole.digest
    assert len(load(DataSpec(name="diabetes", test_examples=30), targets="numbers").test) == 30


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
