"""The laws of granularities: units go whole, in order, and as many as the written rule says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
from attentive import bert, gpt
from torch import Tensor, nn

from oneticket.ground.errors import PruneError, SpecError
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.prune import prune, shots, survivors
from oneticket.pruning.spec import PruningSpec
from oneticket.pruning.units import Family, Units, find
from oneticket.ticket.mask import Mask


@pytest.fixture(autouse=True)
def _layers_draw_from_the_global_state() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 8)),
    "conv": lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.ConvTranspose2d(8, 16, 3)),
    "attention": lambda: nn.MultiheadAttention(16, 8),
    "bert": bert,
    "gpt": gpt,
}
RULES = [
    *((net, kind) for net in NETS for kind in ("channel", "filter", "block:4x2", "2:4", "1:4", "3:4")),
    *((net, "head") for net in ("attention", "bert", "gpt")),
]


@pytest.mark.parametrize(
    ("fraction", "allow_empty"), [(0.2, True), (0.5, True), (0.5, False), (0.9, True), (0.9, False)]
)
@pytest.mark.parametrize(("name", "granularity"), RULES)
def test_units_go_whole_in_order_and_as_many_as_the_rule_says(
    name: str, granularity: str, fraction: float, allow_empty: bool
) -> None:
    net = NETS[name]()
    weights = {each: weight.detach() for each, weight in net.named_parameters() if weight.dim() > 1}
    weights = {each: weight for each, weight in weights.items() if "embed" not in each and ".wpe" not in f".{each}"}
    weights = {each: weight for each, weight in weights.items() if ".wte" not in f".{each}"}
    spec = PruningSpec(granularity=granularity, scope="layerwise", fraction=fraction, allow_empty=allow_empty)
    units = find(spec, net, weights)
    assert units is not None
    pruned = {each for family in units.families.values() for each in family.parts}
    mask, level = Mask.full(weights), 0
    start = {each: _counted(family, mask, units) for each, family in units.families.items()}
    for level, now in enumerate(_shots(spec, mask, weights, units), start=1):
        assert now <= mask and now != mask
        assert all(now[each].all() for each in now if each not in pruned)
        for each, family in units.families.items():
            least = family.count * units.keep or int(not allow_empty)
            assert _counted(family, now, units) == _written(start[each], level, fraction, least)
            _check(family, mask, now, weights, units)
        assert now.remaining == survivors(spec, now.shapes, levels=level, units=units)
        mask = now
    if units.keep:
        assert all((_remaining(family, mask) == units.keep).all() for family in units.families.values())
    elif fraction == 0.9 and allow_empty is False:
        assert min(_counted(family, mask, units) for family in units.families.values()) == 1
    assert survivors(spec, mask.shapes, levels=level + 1, units=units) == mask.remaining


def _remaining(family: Family, mask: Mask) -> Tensor:
    """How many weights live in each unit."""
    remaining = [mask[each].double().flatten() for each in family.parts]
    return torch.bincount(_of(family), torch.cat(remaining), minlength=family.count)


def _of(family: Family) -> Tensor:
    return torch.cat([family.of(each).flatten() for each in family.parts])


def _counted(family: Family, mask: Mask, units: Units) -> int:
    remains = _remaining(family, mask)
    return int(remains.sum() if units.keep else (remains > 0).sum())


def _written(count: int, levels: int, fraction: float, least: int) -> int:
    """The rule as its documentation has it."""
    for _ in range(levels):
        count -= min(int(Fraction(str(fraction)) * count), count - least)
    return count


def _check(family: Family, before: Mask, after: Mask, weights: dict[str, Tensor], units: Units) -> None:
    """What went is no better than what stayed and might have gone."""
    of, was, remains = _of(family), _remaining(family, before), _remaining(family, after)
    scores = torch.cat([weights[each].abs().double().flatten() for each in family.parts])
    if units.keep:
        assert remains.min() >= units.keep
        stays = torch.cat([after[each].flatten() for each in family.parts])
        gone = torch.cat([before[each].flatten() for each in family.parts]) & ~stays
        free = scores[stays & (remains[of] > units.keep)]
        assert not (len(free) and gone.any()) or scores[gone].max() <= free.min()
    else:
        assert set(remains.tolist()) <= {0.0, float(family.size)}
        means = torch.bincount(of, scores, minlength=family.count) / family.size
        gone = (was > 0) & (remains == 0)
        assert not (gone.any() and remains.any()) or means[gone].max() <= means[remains > 0].min() + 1e-12


def _shots(spec: PruningSpec, mask: Mask, weights: dict[str, Tensor], units: Units) -> Iterator[Mask]:
    known = {"trained": weights, "initial_of": lambda: weights, "generator": torch.Generator()}
    return shots(spec, Evidence(mask=mask, **known), units=units)


def rule(granularity: str, net: nn.Module, names: list[str]) -> Units:
    found = find(PruningSpec(granularity=granularity, scope="layerwise"), net, names)
    assert found is not None
    return found


def step(spec: PruningSpec, weights: dict[str, Tensor], units: Units | None, mask: Mask | None = None) -> Mask:
    mask = mask if mask is not None else Mask.full(weights)
    known = {"trained": weights, "initial_of": lambda: weights, "generator": torch.Generator()}
    return prune(spec, Evidence(mask=mask, **known), units=units)


def test_ties_go_by_the_units_number_and_dead_weights_scores_are_not_looked_at() -> None:
    net = nn.Linear(4, 2, bias=False)
    spec = PruningSpec(granularity="channel", scope="layerwise", fraction=0.5)
    units, weights = rule("channel", net, ["weight"]), {"weight": torch.ones(2, 4)}
    first = step(spec, weights, units)
    assert first["weight"].tolist() == [[False, False, True, True]] * 2
    weights["weight"][:, 0] = torch.nan
    assert step(spec, weights, units, first)["weight"].tolist() == [[False, False, False, True]] * 2
    weights["weight"][0, 2] = torch.nan
    with pytest.raises(PruneError, match="weight: 1 scores are NaN"):
        step(spec, weights, units, first)
    within = PruningSpec(granularity="2:4", scope="layerwise", fraction=0.3)
    found = rule("2:4", net, ["weight"])
    assert step(within, {"weight": torch.ones(2, 4)}, found)["weight"].tolist() == [
        [False, False, True, True],
        [True] * 4,
    ]
    with pytest.raises(PruneError, match="weight: 1 scores are NaN"):
        step(within, weights, found, first)


def test_a_units_score_is_the_mean_over_its_weights() -> None:
    net = nn.Linear(3, 2, bias=False)
    spec = PruningSpec(granularity="channel", scope="layerwise", fraction=0.4)
    weights = {"weight": torch.tensor([[9.0, -3.0, 0.1], [0.0, -3.0, 8.0]])}
    assert step(spec, weights, rule("channel", net, ["weight"]))["weight"].all(0).tolist() == [True, False, True]


def test_nothing_to_prune_is_the_same_mask() -> None:
    net = nn.Linear(3, 2, bias=False)
    spec, weights = PruningSpec(granularity="channel", scope="layerwise"), {"weight": torch.ones(2, 3)}
    assert step(spec, weights, rule("channel", net, ["weight"])) == Mask.full(weights)
    assert step(PruningSpec(fraction=0.1), weights, None) == Mask.full(weights)


@pytest.mark.parametrize("wrong", ["chanel", "block", "block:0x2", "block:2", "4:2", "2:2", "0:4", "2:4 ", "", "N:M"])
def test_unknown_granularities_are_refused(wrong: str) -> None:
    with pytest.raises(
        SpecError, match=r"pruning.granularity: expected weight, channel, filter, head, block:RxC .* got"
    ):
        PruningSpec(granularity=wrong, scope="layerwise")


@pytest.mark.parametrize("granularity", ["channel", "filter", "head", "block:2x2", "2:4"])
def test_units_need_layers_of_their_own(granularity: str) -> None:
    with pytest.raises(SpecError, match=f'`granularity = "{granularity}"` needs `scope = "layerwise"`, got global'):
        PruningSpec(granularity=granularity)


def test_what_was_written_before_there_were_granularities_is_read() -> None:
    old = {name: value for name, value in PruningSpec().plain().items() if name != "granularity"}
    assert PruningSpec.read(old) == PruningSpec(granularity="weight")
    assert find(PruningSpec(), nn.Linear(2, 2), ["weight"]) is None
