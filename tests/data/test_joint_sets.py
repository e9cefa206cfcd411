"""Several sets as one: what is drawn of each, how each is scaled and shifted, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from oneticket.data.batches import batches, per_epoch, test_batches
from oneticket.data.data import Data
from oneticket.data.facts import nominal
from oneticket.data.joint import order, shares
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError, SpecError
from oneticket.ground.streams import Streams
from oneticket.lottery.spec import SearchSpec, TransferSpec

STREAMS = Streams(root=3, replicate=1)
SETS: dict[str, Any] = {
    "images": [{"name": "digits:a", "per_class": 30}, {"name": "digits:b", "classes": 4, "flip": True, "crop": 2}],
    "numbers": ["own_sets:rows", {"name": "own_sets:rows", "classes": 5, "per_class": 10}],
    "series": ["mnist1d:a", {"name": "mnist1d:b", "per_class": 20}],
    "tokens": ["own_sets:tokens", {"name": "own_sets:tokens", "classes": 3}],
}


def several(name: str, **more: Any) -> Data:
    return load(DataSpec.read(SETS[name]).but(**more))


def alone(name: str) -> list[Data]:
    return [load(each) for each in DataSpec.read(SETS[name]).members]


def epoch(data: Data, number: int = 0, batch: int = 16) -> list[tuple[torch.Tensor, torch.Tensor]]:
    length = per_epoch(data, batch)
    return [*batches(data, batch=batch, streams=STREAMS, start=number * length, stop=(number + 1) * length)]


@pytest.mark.parametrize("name", SETS)
def test_classes_and_examples_follow_each_other(name: str) -> None:
    data, (first, second) = several(name), alone(name)
    assert data.outputs == first.outputs + second.outputs == len(data.classes) == len(set(data.classes))
    for part in ("train", "test"):
        one, other = getattr(first, part).targets, getattr(second, part).targets + first.outputs
        assert getattr(data, part).targets.equal(torch.cat([one, other]))
    assert data.facts.examples == len(first.train) + len(second.train)
    assert data.digest not in (first.digest, second.digest)


@pytest.mark.parametrize("name", SETS)
def test_each_set_is_scaled_by_its_own_moments(name: str) -> None:
    both = torch.cat([x for x, _ in test_batches(several(name))])
    apart = torch.cat([x for data in alone(name) for x, _ in test_batches(data)])
    assert both.equal(apart)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 1000.0, 0.5])
def test_an_epoch_gives_every_set_its_exact_share(temperature: float) -> None:
    data = several("images", temperature=temperature)
    sizes = [member.examples for member in data.members]
    rows = order(data, STREAMS.generator("order", 5))
    drawn = Counter(bool(row >= sizes[0]) for row in rows.tolist())
    assert [drawn[False], drawn[True]] == shares(sizes, temperature)
    assert len(rows) == sum(sizes)
    for lowest, size, count in ((0, sizes[0], drawn[False]), (sizes[0], sizes[1], drawn[True])):
        often = Counter(row for row in rows.tolist() if lowest <= row < lowest + size)
        assert max(often.values()) - min(often[at] for at in range(lowest, lowest + size)) <= 1
        assert sum(often.values()) == count


def test_shares_are_powers_of_the_sizes() -> None:
    assert shares([800, 200], 1) == [800, 200] and shares([800, 200], 2) == [667, 333]
    assert shares([5, 5, 1], 1e9) == [4, 4, 3]
    assert sum(shares([3, 7, 11, 13], 3.3)) == 34


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_run_that_goes_on_sees_the_same_batches(temperature: float) -> None:
    data = several("images", temperature=temperature)
    length = per_epoch(data, 48)
    straight = [*batches(data, batch=48, streams=STREAMS, start=0, stop=2 * length)]
    for step in (1, length - 1, length, length + 1):
        later = [*batches(data, batch=48, streams=STREAMS, start=step, stop=2 * length)]
        assert all(x.equal(u) and y.equal(v) for (x, y), (u, v) in zip(later, straight[step:], strict=True))


def test_images_are_flipped_and_shifted_as_their_own_set_is() -> None:
    data, (first, second) = several("images"), alone("images")
    seen = (
        torch.cat([x for x, y in epoch(data) for x in x[y < first.outputs]]),
        [x for x, y in epoch(data) for x in x[y >= first.outputs]],
    )
    still = {x.numpy().tobytes() for x, _ in epoch(first, batch=1) for x in x}
    assert all(x.numpy().tobytes() in still for x in seen[0][:, None])
    unmoved = {x.numpy().tobytes() for x, _ in epoch(load(DataSpec(name="digits:b", classes=4)), batch=1) for x in x}
    moved = [x.numpy().tobytes() not in unmoved for x in seen[1]]
    assert sum(moved) > 0.9 * len(moved) and second.crop == 2


def test_images_come_to_the_first_sets_shape() -> None:
    data = load(DataSpec.read([{"name": "digits:a", "size": 12, "channels": 3}, "digits:b"]))
    assert data.inputs.shape == (3, 12, 12)
    other = load(DataSpec.read([{"name": "digits:a", "size": 12}, {"name": "digits:b"}]), device="cpu")
    assert other.train.inputs.shape[1:] == (1, 12, 12)


def test_one_set_in_a_list_is_that_set() -> None:
    one = DataSpec(name="digits:a", per_class=3)
    for given in (["digits:a"], [{"name": "digits:a"}]):
        assert DataSpec.read(given) == DataSpec(name="digits:a")
    assert DataSpec(name=["digits:a"], per_class=3) == one and one.members == (one,)
    assert not {"beside", "temperature"} & {*one.identity()}
    assert SearchSpec(data=["digits:a"], model="mlp").identity() == SearchSpec(data="digits:a", model="mlp").identity()


def test_several_are_known_by_all_of_them() -> None:
    spec = DataSpec(name=["digits:a", "digits:b"], per_class=9, temperature=2)
    assert DataSpec.recall(spec.identity()) == spec
    assert [each.per_class for each in spec.members] == [9, 9] and spec.called == "digits:a+digits:b"
    assert "missing" not in spec.identity()["beside"][0]
    others = [spec.but(temperature=3), spec.but(beside=["mnist"])]
    assert len({str(each.identity()) for each in (spec, *others)}) == 3
    assert load(spec).digest != load(spec.but(temperature=3)).digest


def test_sets_that_are_not_at_hand_count_as_published() -> None:
    facts = nominal(DataSpec(name=["imagenet", "cifar100"]))
    assert facts is not None and (facts.outputs, facts.examples) == (1100, 1_281_000 + 50_000)
    assert nominal(DataSpec(name=["imagenet", "digits"])) is None
    others = (["imagenet", "places365"], ["cifar100", "imagenet"], {"name": ["imagenet", "cifar100"], "classes": 10})
    found = [nominal(DataSpec.read(each)) for each in others]
    assert len({each.digest for each in (facts, *found) if each}) == 4 and facts.digest.startswith("not available")


REFUSED: dict[str, tuple[Any, str]] = {
    "none": ([], "expected at least one dataset, got none"),
    "one twice": (["digits", "digits"], "expected datasets that differ, got one of digits twice"),
    "a list in a list": (["digits", ["mnist", "svhn"]], "got a list within it"),
    "a temperature for one": ({"name": "digits", "temperature": 2}, "temperature=2 is for several datasets"),
    "a temperature of zero": ({"name": ["digits", "mnist"], "temperature": 0}, "greater than 0"),
    "a misspelt one": (["digits", "dgits"], "did you mean 'digits'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_words(name: str) -> None:
    given, words = REFUSED[name]
    with pytest.raises(SpecError, match=words):
        DataSpec.read(given)


UNLIKE: dict[str, tuple[Any, str]] = {
    "kinds": (["digits", "own_sets:rows"], "own_sets:rows beside digits, whose network it shares"),
    "shapes": ([{"name": "digits", "size": 8}, {"name": "digits", "size": 9}], "set one size and channels for all"),
    "numbers": (["own_sets:rows", "own_sets:tokens"], "one cannot be turned into the other"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_unlike_inputs_are_refused_in_words(name: str) -> None:
    given, words = UNLIKE[name]
    with pytest.raises(DataError, match=words):
        load(DataSpec.read(given))


def test_streamed_sets_and_numbers_are_refused(photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETICKET_DATA", str(photos))
    with pytest.raises(DataError, match="places365:a is streamed"):
        load(DataSpec(name=["places365:a", "places365:b"], size=32), workers=0)
    with pytest.raises(DataError, match="own_sets:rows"):
        load(DataSpec.read(["diabetes", "own_sets:rows"]), targets="numbers")
    for kind, more in ((SearchSpec, {"model": "mlp"}), (TransferSpec, {})):
        with pytest.raises(SpecError, match="classification alone, not for regression"):
            kind(data=["diabetes", "digits"], task="regression", **more)
