"""The laws of selection: exact for any scores, a subset of what lived, blind to the order of tensors, NaN refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oneticket.ground.errors import PruneError, SpecError
from oneticket.pruning.allocate import SCOPES, Share, allocate
from oneticket.pruning.criteria import CRITERIA, score
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.scores import Scores
from oneticket.pruning.select import FEW, PIECE, select
from oneticket.ticket.mask import Mask

SHAPES = {"b.weight": (3, 4), "a.weight": (5,), "c.weight": (2, 2, 2)}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Mask, dict[str, Tensor]]:
    """A mask with any dead weights, and scores with many ties, infinities and negatives among them."""
    mask, scores = {}, {}
    values = st.sampled_from([0.0, 1.0, 1.0, 2.0, -1.0, float("inf"), 0.5])
    for name, shape in SHAPES.items():
        n = torch.Size(shape).numel()
        mask[name] = torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n))).view(shape)
        scores[name] = torch.tensor(draw(st.lists(values, min_size=n, max_size=n))).view(shape)
    return Mask(mask), scores


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: x,
    "magnitudes": lambda x: x.abs(),
    "two values": lambda x: (x > 0).float(),
    "equal": lambda x: torch.full_like(x, 0.25),
    "ascending": lambda x: x.sort().values,
    "descending": lambda x: x.sort(descending=True).values,
    "a narrow band": lambda x: 1 + 1e-6 * x,
    "below the smallest normal": lambda x: 1e-41 * x,
    "both zeros": lambda x: (x / 2).round(),
    "infinities": lambda x: 1 / x.round(),
}


def by_sorting(mask: Mask, scores: Mapping[str, Tensor], prune: int) -> Mask:
    """The reference: all remaining weights, laid out by (tensor name, flat index), in a stable sort by score."""
    remaining = torch.cat([mask[name].flatten() for name in mask])
    values = torch.cat([scores[name].double().flatten() for name in mask])
    remaining[remaining.nonzero().squeeze(1)[values[remaining].sort(stable=True).indices[:prune]]] = False
    parts = remaining.split([mask[name].numel() for name in mask])
    return Mask({name: part.view(mask.shapes[name]) for name, part in zip(mask, parts, strict=True)})


@given(
    kind=st.sampled_from(sorted(KINDS)),
    dtypes=st.lists(
        st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]), min_size=3, max_size=3
    ),
    seed=st.integers(0, 2**31),
    density=st.sampled_from([0.05, 0.7, 1.0]),
    fraction=st.sampled_from([0.0, 0.001, 0.2, 0.5, 0.999, 1.0]),
)
@settings(max_examples=50, deadline=None)
def test_the_same_as_by_sorting(
    kind: str, dtypes: list[torch.dtype], seed: int, density: float, fraction: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    remaining, scores = {}, {}
    for (name, shape), dtype in zip({"b": (3, 5, 5003), "a": (0,), "c": (FEW,)}.items(), dtypes, strict=True):
        remaining[name] = torch.rand(shape, generator=generator) < density
        drawn = KINDS[kind](torch.randn(remaining[name].numel(), generator=generator)).view(shape)
        scores[name] = drawn.to(dtype).masked_fill(~remaining[name], torch.nan)
    mask = Mask(remaining)
    prune = int(fraction * mask.remaining)
    assert select(mask, scores, [Share(names=("c", "a", "b"), prune=prune)]) == by_sorting(mask, scores, prune)


@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_and_many_small_tensors_are_one_order(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"huge": (10 * PIECE + 5,), **{f"small.{i:02}": (3, i, 7) for i in range(60)}}
    draws = {name: torch.randn(torch.Size(shape).numel(), generator=generator) for name, shape in shapes.items()}
    scores = {name: KINDS[kind](draw).view(shapes[name]) for name, draw in draws.items()}
    mask = Mask.full(scores)
    for prune in (1, mask.remaining // 3, mask.remaining - 1):
        assert select(mask, scores, [Share(names=tuple(shapes), prune=prune)]) == by_sorting(mask, scores, prune)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_width_of_scores_is_taken(dtype: torch.dtype) -> None:
    scores = {"w": torch.randn(FEW + 9, generator=torch.Generator().manual_seed(0)).to(dtype)}
    mask = Mask.full(scores)
    assert select(mask, scores, [Share(names=("w",), prune=FEW // 3)]) == by_sorting(mask, scores, FEW // 3)


def test_scores_are_compared_as_precisely_as_they_are() -> None:
    near = 1 + torch.arange(FEW + 9, dtype=torch.float64).flip(0) * 2**-50
    after = select(Mask.full({"w": near}), {"w": near}, [Share(names=("w",), prune=FEW + 8)])
    assert after["w"].nonzero().tolist() == [[0]]
    half = {"a": torch.tensor([1.0, 2.0], dtype=torch.float16), "b": torch.tensor([1.0001, 0.9999])}
    after = select(Mask.full(half), half, [Share(names=("a", "b"), prune=2)])
    assert (after["a"].tolist(), after["b"].tolist()) == ([False, True], [True, False])


def test_any_layout_of_scores_gives_the_same_mask() -> None:
    scores = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    share = [Share(names=("w",), prune=200)]
    expected = select(Mask.full({"w": scores}), {"w": scores}, share)
    last = scores.to(memory_format=torch.channels_last).requires_grad_()
    assert select(Mask.full({"w": scores}), {"w": last}, share) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scores_on_a_gpu_give_the_same_mask() -> None:
    scores = {name: torch.randn(shape, generator=torch.Generator().manual_seed(0)) for name, shape in SHAPES.items()}
    share = [Share(names=tuple(SHAPES), prune=11)]
    there = {name: score.cuda() for name, score in scores.items()}
    assert select(Mask.full(scores), there, share) == select(Mask.full(scores), scores, share)


@given(case=cases(), fraction=st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=60, deadline=None)
def test_the_best_weight_of_every_tensor_stays_whatever_the_scores(
    case: tuple[Mask, dict[str, Tensor]], fraction: float
) -> None:
    mask, scores = case
    shares = allocate("global", counts=mask.counts, fraction=fraction, allow_empty=False)
    after = select(mask, scores, shares, allow_empty=False)
    assert after <= mask
    assert mask.remaining - after.remaining == sum(share.prune for share in shares)
    for name in mask:
        ranked = [(score, i) for i, score in enumerate(scores[name].flatten().tolist()) if mask[name].flatten()[i]]
        assert not ranked or after[name].flatten()[max(ranked)[1]]


@pytest.mark.parametrize("scope", SCOPES)
@given(case=cases(), fraction=st.sampled_from([0.1, 0.2, 0.5, 0.9, 0.99]))
@settings(max_examples=60, deadline=None)
def test_exact_count_and_subset(scope: str, case: tuple[Mask, dict[str, Tensor]], fraction: float) -> None:
    mask, scores = case
    remaining = {name: int(mask[name].sum()) for name in mask}
    shares = allocate(scope, counts=remaining, fraction=fraction)
    after = select(mask, scores, shares)
    assert after <= mask
    for share in shares:
        before = sum(remaining[name] for name in share.names)
        assert before - sum(int(after[name].sum()) for name in share.names) == share.prune
    for share in shares:
        gone = [scores[n][mask[n] & ~after[n]] for n in share.names]
        kept = [scores[n][after[n]] for n in share.names]
        if share.prune and sum(map(len, kept)):
            assert torch.cat(gone).max() <= torch.cat(kept).min()


@given(case=cases(), count=st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_order_of_tensors_does_not_matter(case: tuple[Mask, dict[str, Tensor]], count: int) -> None:
    mask, scores = case
    count = min(count, mask.remaining)
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
    with pytest.raises(PruneError, match="cannot prune 23 weights, since only 22 may be pruned"):
        select(mask, scores, [Share(names=tuple(SHAPES), prune=23)], allow_empty=False)


RULES: dict[str, tuple[Callable[..., Tensor], int]] = {
    "magnitude": (torch.abs, 1),
    "saliency": (lambda weight, gradient: (weight * gradient).abs(), 2),
    "signed": (torch.neg, 1),
    "the values themselves": (lambda weight: weight, 1),
}


@given(
    kind=st.sampled_from(sorted(KINDS)),
    rule=st.sampled_from(sorted(RULES)),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.float64]),
    seed=st.integers(0, 2**31),
    fraction=st.sampled_from([0.001, 0.2, 0.999]),
    allow_empty=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_scores_that_are_computed_piece_by_piece_give_the_same_mask(
    kind: str, rule: str, dtype: torch.dtype, seed: int, fraction: float, allow_empty: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    function, count = RULES[rule]
    shapes = {"b": (3, 5, 51, 97), "a": (7,), "c": (2, PIECE + 1)}
    of = [
        {name: KINDS[kind](torch.randn(shape, generator=generator)).to(dtype) for name, shape in shapes.items()}
        for _ in range(count)
    ]
    if kind == "infinities" and count > 1:
        of[1] = {name: values.sign() + 2 for name, values in of[1].items()}  # infinity times zero is NaN
    before = [{name: values.clone() for name, values in each.items()} for each in of]
    of = [{**each, "b": each["b"].to(memory_format=torch.channels_last)} for each in of]
    lazy, mask = Scores(function, *of), Mask({n: torch.rand(s, generator=generator) < 0.7 for n, s in shapes.items()})
    share = [Share(names=("a", "b", "c"), prune=int(fraction * (mask.remaining - 3)))]
    found = select(mask, lazy, share, allow_empty=allow_empty)
    assert found == select(mask, dict(lazy), share, allow_empty=allow_empty)
    assert all(torch.equal(each[name], was[name]) for each, was in zip(of, before, strict=True) for name in shapes)


@pytest.mark.parametrize("made", [dict, lambda given: Scores(torch.abs, given)])
def test_nan_is_refused_only_where_a_weight_lives(made: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> None:
    mask = Mask({"w": torch.tensor([True, True, False])})
    share = [Share(names=("w",), prune=1)]
    with pytest.raises(PruneError, match="w: 1 scores are NaN"):
        select(mask, made({"w": torch.tensor([1.0, torch.nan, 1.0])}), share)
    for last in (torch.nan, -torch.inf):  # whose sum with the infinity is NaN too
        scores = made({"w": torch.tensor([1.0, torch.inf, last])})
        assert select(mask, scores, share)["w"].tolist() == [False, True, False]


def test_wrong_shapes_and_names_are_told() -> None:
    mask = Mask({"w": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(PruneError, match=r"w: expected scores of shape \(2,\), got \(3,\)"):
        select(mask, {"w": torch.ones(3)}, [Share(names=("w",), prune=1)])
    with pytest.raises(PruneError, match="w: expected scores of shape .* got nothing"):
        select(mask, {}, [Share(names=("w",), prune=1)])
    with pytest.raises(PruneError, match=r"w: expected scores of shape \(2,\), got \(3,\)"):
        select(mask, Scores(torch.abs, {"w": torch.ones(3)}), [Share(names=("w",), prune=1)])
    with pytest.raises(PruneError, match="only 2 may"):
        select(mask, {"w": torch.ones(2)}, [Share(names=("w",), prune=3)])


@pytest.mark.parametrize(
    ("remaining", "fraction", "gone"),
    [({"a": 5, "b": 5}, 0.2, 2), ({"a": 4}, 0.2, 0), ({"a": 10}, 0.3, 3), ({"a": 100}, 0.29, 29), ({"a": 3}, 0.999, 2)],
)
def test_rounding_is_the_floor_of_the_decimal_as_written(remaining: dict[str, int], fraction: float, gone: int) -> None:
    assert sum(share.prune for share in allocate("global", counts=remaining, fraction=fraction)) == gone


def test_scopes_differ() -> None:
    remaining = {"a": 9, "b": 9}
    assert sum(s.prune for s in allocate("global", counts=remaining, fraction=0.2)) == 3
    assert sum(s.prune for s in allocate("layerwise", counts=remaining, fraction=0.2)) == 2
    with pytest.raises(SpecError, match="unknown scope 'globall'; did you mean 'global'"):
        allocate("globall", counts=remaining, fraction=0.2)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_criteria_score_every_weight_and_repeat(criterion: str) -> None:
    trained = {name: torch.randn(shape, generator=torch.Generator().manual_seed(1)) for name, shape in SHAPES.items()}
    initial = {name: torch.randn(shape, generator=torch.Generator().manual_seed(2)) for name, shape in SHAPES.items()}

    model = nn.Module()
    for name, value in trained.items():
        model.add_module(name[0], nn.ParameterDict({"weight": value.clone()}))

    def losses(model: nn.Module) -> Iterator[Tensor]:
        for batch in range(1, 4):
            yield sum((batch * one.square()).sum() for one in model.parameters())  # type: ignore[misc]

    def scores(seed: int) -> Mapping[str, Tensor]:
        known = {"mask": Mask.full(trained), "trained": trained, "initial_of": lambda: initial}
        draw = torch.Generator().manual_seed(seed)
        return score(criterion, Evidence(**known, generator=draw, model=model, losses=losses))

    once, again, other = scores(0), scores(0), scores(1)
    assert {name: value.shape for name, value in once.items()} == {name: value.shape for name, value in trained.items()}
    assert all(torch.equal(once[name], again[name]) for name in SHAPES)
    assert all(torch.equal(once[name], other[name]) for name in SHAPES) == (criterion != "random")
    squared = {name: 4 * value.square() for name, value in trained.items()}  # w times the mean of 2w, 4w and 6w
    expected = {"magnitude": trained, "magnitude-at-init": initial, "saliency": squared}
    for name in SHAPES if criterion in expected else ():
        torch.testing.assert_close(once[name], expected[criterion][name].abs(), rtol=1e-6, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_unknown_criterion_is_told() -> None:
    with pytest.raises(PruneError, match="unknown criterion 'magnitud'; did you mean 'magnitude'"):
        score("magnitud", Evidence(mask=Mask({}), trained={}, initial_of=dict, generator=torch.Generator()))
