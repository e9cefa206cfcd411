"""The laws of selection: exact for any scores, a subset of what lived, blind to the order of tensors, NaN refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oneticket.ground.errors import PruneError
from oneticket.pruning.allocate import SCOPES, Share, allocate
from oneticket.pruning.criteria import CRITERIA, score
from oneticket.pruning.select import select
from oneticket.ticket.mask import Mask

SHAPES = {"b.weight": (3, 4), "a.weight": (5,), "c.weight": (2, 2, 2)}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Mask, dict[str, torch.Tensor]]:
    """A mask with any dead weights, and scores with many ties, infinities and negatives among them."""
    mask, scores = {}, {}
    values = st.sampled_from([0.0, 1.0, 1.0, 2.0, -1.0, float("inf"), 0.5])
    for name, shape in SHAPES.items():
        n = torch.Size(shape).numel()
        mask[name] = torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n))).view(shape)
        scores[name] = torch.tensor(draw(st.lists(values, min_size=n, max_size=n))).view(shape)
    return Mask(mask), scores


@pytest.mark.parametrize("scope", SCOPES)
@given(case=cases(), fraction=st.sampled_from([0.1, 0.2, 0.5, 0.9, 0.99]))
@settings(max_examples=60, deadline=None)
def test_exact_count_and_subset(scope: str, case: tuple[Mask, dict[str, torch.Tensor]], fraction: float) -> None:
    mask, scores = case
    living = {name: int(mask[name].sum()) for name in mask}
    shares = allocate(scope, living=living, fraction=fraction)
    after = select(mask, scores, shares)
    assert after <= mask
    for share in shares:
        before = sum(living[name] for name in share.names)
        assert before - sum(int(after[name].sum()) for name in share.names) == share.prune
    for share in shares:
        gone = [scores[n][mask[n] & ~after[n]] for n in share.names]
        kept = [scores[n][after[n]] for n in share.names]
        if share.prune and sum(map(len, kept)):
            assert torch.cat(gone).max() <= torch.cat(kept).min()


@given(case=cases(), count=st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_order_of_tensors_does_not_matter(case: tuple[Mask, dict[str, torch.Tensor]], count: int) -> None:
    mask, scores = case
    count = min(count, mask.living)
    backwards = dict(reversed(list(scores.items())))
    shares = [Share(names=tuple(SHAPES), prune=count)]
    turned = [Share(names=tuple(reversed(list(SHAPES))), prune=count)]
    assert select(mask, scores, shares) == select(Mask(dict(reversed(list(mask.items())))), backwards, turned)


def test_ties_go_by_name_then_position() -> None:
    mask = Mask.full({name: torch.zeros(shape) for name, shape in SHAPES.items()})
    flat = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    after = select(mask, flat, [Share(names=tuple(SHAPES), prune=7)])
    assert not after["a.weight"].any()
    assert after["b.weight"].flatten().tolist() == [False, False] + [True] * 10
    assert after["c.weight"].all()


def test_a_layer_keeps_its_best_weight_when_asked() -> None:
    mask = Mask.full({name: torch.zeros(shape) for name, shape in SHAPES.items()})
    scores = {
        name: torch.arange(torch.Size(shape).numel()).view(shape) + 100.0 * (name == "b.weight")
        for name, shape in SHAPES.items()
    }
    share = [Share(names=tuple(SHAPES), prune=22)]
    after = select(mask, scores, share, allow_empty=False)
    assert {name: int(after[name].sum()) for name in after} == {"a.weight": 1, "b.weight": 1, "c.weight": 1}
    assert all(after[name].flatten()[-1] for name in after)
    emptied = select(mask, scores, share)
    assert not emptied["a.weight"].any() and emptied["b.weight"].sum() == 3
    with pytest.raises(PruneError, match="23 weights are to go but only 22 may"):
        select(mask, scores, [Share(names=tuple(SHAPES), prune=23)], allow_empty=False)


def test_nan_is_refused_only_where_a_weight_lives() -> None:
    mask = Mask({"w": torch.tensor([True, True, False])})
    share = [Share(names=("w",), prune=1)]
    with pytest.raises(PruneError, match="w: 1 scores are NaN"):
        select(mask, {"w": torch.tensor([1.0, torch.nan, 1.0])}, share)
    assert select(mask, {"w": torch.tensor([1.0, 2.0, torch.nan])}, share)["w"].tolist() == [False, True, False]


def test_wrong_shapes_and_names_are_told() -> None:
    mask = Mask({"w": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(PruneError, match=r"w: expected scores of shape \(2,\), got \(3,\)"):
        select(mask, {"w": torch.ones(3)}, [Share(names=("w",), prune=1)])
    with pytest.raises(PruneError, match="w: expected scores of shape .* got nothing"):
        select(mask, {}, [Share(names=("w",), prune=1)])
    with pytest.raises(PruneError, match="only 2 may"):
        select(mask, {"w": torch.ones(2)}, [Share(names=("w",), prune=3)])


@pytest.mark.parametrize(
    ("living", "fraction", "gone"),
    [({"a": 5, "b": 5}, 0.2, 2), ({"a": 4}, 0.2, 0), ({"a": 10}, 0.3, 3), ({"a": 100}, 0.29, 29), ({"a": 3}, 0.999, 2)],
)
def test_rounding_is_the_floor_of_the_decimal_as_written(living: dict[str, int], fraction: float, gone: int) -> None:
    assert sum(share.prune for share in allocate("global", living=living, fraction=fraction)) == gone


def test_scopes_differ() -> None:
    living = {"a": 9, "b": 9}
    assert sum(s.prune for s in allocate("global", living=living, fraction=0.2)) == 3
    assert sum(s.prune for s in allocate("layerwise", living=living, fraction=0.2)) == 2
    with pytest.raises(PruneError, match="unknown scope 'globall'; did you mean 'global'"):
        allocate("globall", living=living, fraction=0.2)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_criteria_score_every_weight_and_repeat(criterion: str) -> None:
    trained = {name: torch.randn(shape, generator=torch.Generator().manual_seed(1)) for name, shape in SHAPES.items()}
    initial = {name: torch.randn(shape, generator=torch.Generator().manual_seed(2)) for name, shape in SHAPES.items()}

    def scores(seed: int) -> dict[str, torch.Tensor]:
        return score(criterion, trained=trained, initial=initial, generator=torch.Generator().manual_seed(seed))

    once, again, other = scores(0), scores(0), scores(1)
    assert {name: value.shape for name, value in once.items()} == {name: value.shape for name, value in trained.items()}
    assert all(torch.equal(once[name], again[name]) for name in SHAPES)
    assert all(torch.equal(once[name], other[name]) for name in SHAPES) == (criterion != "random")
    expected = {"magnitude": trained, "magnitude-at-init": initial}
    if criterion in expected:
        assert all(torch.equal(once[name], expected[criterion][name].abs()) for name in SHAPES)


def test_unknown_criterion_is_told() -> None:
    with pytest.raises(PruneError, match="unknown criterion 'magnitud'; did you mean 'magnitude'"):
        score("magnitud", trained={}, initial={}, generator=torch.Generator())
