import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oneticket.ground.errors import PruneError
from oneticket.ticket.mask import Mask

SHAPES = [(), (0,), (1,), (7,), (8,), (9,), (3, 5), (2, 3, 4, 5), (4, 0, 2)]


@st.composite
def masks(draw, count=1):
    shapes = {name: draw(st.sampled_from(SHAPES)) for name in draw(st.sets(st.sampled_from("abcd/é"), max_size=3))}
    made = []
    for _ in range(count):
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
        made.append(Mask({n: torch.rand(shape, generator=generator) < 0.5 for n, shape in shapes.items()}))
    return made


def meet(a: Mask, b: Mask) -> Mask:
    return Mask({name: a[name] & b[name] for name in a})


@given(masks())
def test_unpack_undoes_pack(made):
    (mask,) = made
    assert Mask.unpack(mask.pack(), mask.shapes) == mask
    assert Mask(mask) == mask
    assert hash(Mask(mask)) == hash(mask)


@given(masks())
def test_counts_are_what_the_tensors_say(made):
    (mask,) = made
    assert mask.counts == {name: int(remaining.sum()) for name, remaining in mask.items()}
    assert mask.total == sum(remaining.numel() for remaining in mask.values())
    assert mask.density == (mask.remaining / mask.total if mask.total else 1.0)
    assert list(mask) == sorted(mask)


@given(masks())
def test_full_is_the_mask_of_ones(made):
    (mask,) = made
    ones = Mask({name: torch.ones(shape, dtype=torch.bool) for name, shape in mask.shapes.items()})
    assert Mask.full(mask) == Mask.full(mask.shapes) == ones
    assert Mask.full(mask).digest == ones.digest


@pytest.mark.parametrize("shape", [*SHAPES, (3, 2, 300, 257)])
def test_where_is_the_rule_on_remaining_weights(shape):
    generator = torch.Generator().manual_seed(0)
    mask = Mask({"w": torch.rand(shape, generator=generator) < 0.5})
    one, other = ({"w": torch.randn(shape, generator=generator)} for _ in range(2))
    if len(shape) == 4:
        one = {"w": one["w"].to(memory_format=torch.channels_last)}
    assert torch.equal(mask.where(torch.gt, one, other)["w"], (one["w"] > other["w"]) & mask["w"])


@given(masks(count=3))
def test_subset_is_a_partial_order(made):
    a, b, c = made
    assert a <= a
    assert a <= Mask.full(a)
    assert meet(a, b) <= a
    assert meet(meet(a, b), c) <= meet(b, c) <= c
    assert (a <= b and b <= a) == (a == b)
    assert (a <= b) == all(bool((b[name] | ~a[name]).all()) for name in a)
    assert Mask.full(a) >= a


@given(masks())
def test_projection_is_idempotent_and_kills_what_is_not_finite(made):
    (mask,) = made
    values = {name: torch.where(remaining, 1.5, torch.nan) for name, remaining in mask.items()}
    once = mask.project(values)
    twice = mask.project(once)
    for name, remaining in mask.items():
        assert torch.equal(once[name], torch.where(remaining, 1.5, 0.0))
        assert torch.equal(once[name], twice[name])
        assert not torch.signbit(once[name]).any()
        assert values[name].isnan().sum() == (~remaining).sum(), "the input was changed"
    mask.project_(values)
    assert all(torch.equal(values[name], once[name]) and not torch.signbit(values[name]).any() for name in mask)


def test_a_mask_cannot_be_changed():
    given_ = torch.tensor([True, False])
    mask = Mask({"w": given_})
    before = mask.digest
    given_[1] = True
    mask["w"].fill_(True)
    mask.pack()["w"].fill_(255)
    mask.shapes.clear()
    assert mask.digest == before
    assert copy.deepcopy(mask) == mask


def test_any_layout_has_the_same_bits():
    remaining = torch.arange(24).reshape(2, 3, 2, 2) % 3 == 0
    assert Mask({"w": remaining.to(memory_format=torch.channels_last)}) == Mask({"w": remaining})
    assert Mask({"w": remaining.transpose(0, 1)}) == Mask({"w": remaining.transpose(0, 1).contiguous()})


def test_other_names_or_shapes_are_neither_equal_nor_within():
    mask = Mask.full({"w": (2, 3)})
    for other in (Mask.full({"w": (3, 2)}), Mask.full({"v": (2, 3)}), Mask.full({"w": (2, 3), "v": (1,)}), Mask({})):
        assert mask != other
        assert mask.digest != other.digest
        assert not mask <= other
    assert mask != {"w": 1}


def test_the_digest_is_frozen():
    mask = Mask({"b": torch.tensor([True, False, True]), "a": torch.ones(2, 2, dtype=torch.bool)})
    assert {name: bits.tolist() for name, bits in mask.pack().items()} == {"a": [15], "b": [5]}
    assert mask.digest == "1e1dcda23f5be1414ecd9ba8d0bb22578364a73199653bf68e28e50645df7a25"
    assert repr(mask) == "Mask(2 tensors, 6 of 7 weights remain, density 0.8571)"


def test_without_leaves_names_out():
    mask = Mask.full({"w": (2,), "fc.weight": (3,)})
    assert mask.without(["fc.weight", "ghost"]) == Mask.full({"w": (2,)})


def test_a_text_is_no_collection_of_names() -> None:
    """`in` would find a name within it: here "weight"."""
    with pytest.raises(PruneError, match=r"expected names, such as \['fc.weight'\], got the text 'fc.weight'"):
        Mask.full({"weight": (2,)}).without("fc.weight")


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"w": torch.ones(2)}, "mask 'w': expected a dense bool tensor, got torch.float32"),
        ({"w": [True]}, "mask 'w': expected a bool tensor, got list"),
        ({1: torch.ones(1) > 0}, "a name must be text, got 1"),
        ({"": torch.ones(1) > 0}, "a name must have 1 to 512 characters, got 0"),
        ({"w": torch.ones(1, device="meta") > 0}, "on meta"),
        (7, "expected a mapping from name to bool tensor, got int"),
    ],
)
def test_refusals(given_, words):
    with pytest.raises(PruneError, match="mask") as caught:
        Mask(given_)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("packed", "shapes", "words"),
    [
        ({"w": [255, 1]}, {"w": (9,)}, None),
        ({"w": [255, 3]}, {"w": (9,)}, "padding bits"),
        ({"w": [255]}, {"w": (9,)}, "needs 2 uint8"),
        ({"w": [255, 0]}, {"w": (8,)}, "needs 1 uint8"),
        ({"w": [255]}, {"v": (8,)}, "the same names"),
    ],
)
def test_unpack_refuses_what_pack_does_not_make(packed, shapes, words):
    packed = {name: torch.tensor(bits, dtype=torch.uint8) for name, bits in packed.items()}
    if words is None:
        assert Mask.unpack(packed, shapes).remaining == 9
        return
    with pytest.raises(PruneError, match=words):
        Mask.unpack(packed, shapes)


@pytest.mark.parametrize("tensors", [{}, {"w": torch.ones(3)}])
def test_projection_refuses_missing_names_and_other_shapes(tensors):
    with pytest.raises(PruneError, match=r"mask 'w': expected a tensor of shape \(2,\)"):
        Mask.full({"w": (2,)}).project(tensors)
