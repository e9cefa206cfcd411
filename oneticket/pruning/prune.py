"""Pruning: score, allocate, select: one step from a mask to the next, with any trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

import torch
from torch import Tensor

from oneticket.pruning.allocate import allocate, remaining
from oneticket.pruning.criteria import Criterion, score
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.select import checked, select
from oneticket.pruning.spec import PruningSpec
from oneticket.pruning.units import Family, Units
from oneticket.ticket.bits import BLOCK, from_bytes
from oneticket.ticket.mask import Mask

Tensors = Mapping[str, Tensor]


def prune(
    spec: PruningSpec, evidence: Evidence, *, units: Units | None = None, criterion: Criterion | None = None
) -> Mask:
    """The mask of the next level; that of the evidence itself where the rule lets nothing more go.

    `evidence`: of the level that was trained. `units`: what `pruning.units.find` found for the granularity.
    `criterion`: a function in the place of the one that the spec names.

    Raises PruneError for scores that are NaN or of another shape, and as `criteria.score` does.

    >>> w = {"w": torch.tensor([3.0, -1.0, 2.0, 0.5])}
    >>> known = {"mask": Mask.full(w), "trained": w, "initial_of": dict, "generator": torch.Generator()}
    >>> prune(PruningSpec(fraction=0.5), Evidence(**known))["w"]
    tensor([ True, False,  True, False])
    """
    return next(shots(spec, evidence, units=units, criterion=criterion), evidence.mask)


def shots(
    spec: PruningSpec, evidence: Evidence, *, units: Units | None = None, criterion: Criterion | None = None
) -> Iterator[Mask]:
    """The masks of the next level, the one after, ... from one and the same scores, as long as anything may go."""
    scores, mask = score(criterion or spec.criterion, evidence), evidence.mask
    while (left := _lower(spec, mask, scores, units)) is not None:
        yield left
        mask = left


def written(pruned_at: Tensors, mask: Mask, masks: Iterable[Mask], level: int) -> dict[str, Tensor]:
    """`pruned_at` with the masks of the levels from `level` on written in, each below the one before; `mask` is first.

    >>> w = {"w": torch.tensor([1, 0, 0], dtype=torch.uint8)}
    >>> full, first = (Mask({"w": torch.tensor(kept)}) for kept in ([False, True, True], [False, True, False]))
    >>> written(w, full, [first], 2)["w"]
    tensor([1, 0, 2], dtype=torch.uint8)
    """
    after = {name: at.clone(memory_format=torch.contiguous_format) for name, at in pruned_at.items()}
    for number, left in enumerate(masks, start=level):
        stays = left.pack()
        for name, bits in mask.pack().items():
            going = torch.split(bits & ~stays[name], BLOCK // 8)
            for at, some in zip(torch.split(after[name].view(-1), BLOCK), going, strict=True):
                at.masked_fill_(from_bytes(some, len(at)), number)
        mask = left
    return after


def survivors(
    spec: PruningSpec, shapes: Mapping[str, tuple[int, ...]], *, levels: int, units: Units | None = None
) -> int:
    """How many weights remain after so many levels of a search that begins dense: the rule needs no scores.

    >>> survivors(PruningSpec(fraction=0.2), {"a": (10,), "b": (5,)}, levels=2)
    10
    """

    def left(counts: Mapping[str, int], least: Mapping[str, int] | None = None) -> int:
        return remaining(
            spec.scope,
            counts=counts,
            fraction=spec.fraction,
            levels=levels,
            allow_empty=spec.allow_empty,
            least=least,
        )

    totals = {name: prod(shape) for name, shape in shapes.items()}
    if units is None:
        return left(totals)
    found = units.families
    rest = sum(totals.values()) - sum(family.count * family.size for family in found.values())
    if units.keep:
        least = {name: family.count * units.keep for name, family in found.items()}
        return rest + left({name: family.count * family.size for name, family in found.items()}, least)
    return rest + sum(family.size * left({name: family.count}) for name, family in found.items())


def _lower(spec: PruningSpec, mask: Mask, scores: Tensors, units: Units | None) -> Mask | None:
    """The next mask, or None if nothing may go."""
    if units is None:
        return _weights(spec, mask, scores)
    return (_within if units.keep else _wholes)(spec, mask, scores, units)


def _weights(spec: PruningSpec, mask: Mask, scores: Tensors) -> Mask | None:
    shares = allocate(spec.scope, counts=mask.counts, fraction=spec.fraction, allow_empty=spec.allow_empty)
    return select(mask, scores, shares, allow_empty=spec.allow_empty) if any(share.prune for share in shares) else None


def _wholes(spec: PruningSpec, mask: Mask, scores: Tensors, units: Units) -> Mask | None:
    """Units as wholes, selected by their own scores as single weights are."""
    found = {name: _means(family, mask, scores) for name, family in units.families.items()}
    units_mask = Mask({name: nonempty for name, (nonempty, _) in found.items()})
    left = _weights(spec, units_mask, {name: means for name, (_, means) in found.items()})
    if left is None:
        return None
    stays = dict(mask)
    for family, units_left in left.items():
        for name in units.families[family].parts:
            stays[name] = mask[name] & units_left[units.families[family].of(name)]
    return Mask(stays)


def _means(family: Family, mask: Mask, scores: Tensors) -> tuple[Tensor, Tensor]:
    """Which units have remaining weights, and the mean of those weights' scores."""
    sums, counts = (
        torch.zeros(family.count, dtype=torch.float64, device="cpu"),
        torch.zeros(family.count, dtype=torch.float64, device="cpu"),
    )
    for name in family.parts:
        remains, of = mask[name].flatten(), family.of(name).flatten()
        values = checked(name, scores, mask).double().where(remains, 0)
        sums += torch.bincount(of, values, minlength=family.count)
        counts += torch.bincount(of, remains.double(), minlength=family.count)
    return counts > 0, sums / counts.clamp(min=1)


def _within(spec: PruningSpec, mask: Mask, scores: Tensors, units: Units) -> Mask | None:
    """Single weights, of which so many of every unit stay: its best, the last of equals."""
    stay = {name: _best(family, name, mask, scores, units.keep) for name, family in units.families.items()}
    least = {name: int(best.sum()) for name, best in stay.items()}
    counts = {name: mask.counts[name] for name in stay}
    shares = allocate(spec.scope, counts=counts, fraction=spec.fraction, least=least)
    if not any(share.prune for share in shares):
        return None
    may_go = Mask({name: mask[name] & ~best for name, best in stay.items()})
    left = select(may_go, scores, shares)
    return Mask({**mask, **{name: left[name] | best for name, best in stay.items()}})


def _best(family: Family, name: str, mask: Mask, scores: Tensors, keep: int) -> Tensor:
    """The `keep` best remaining weights of every unit."""
    values, remains = checked(name, scores, mask), mask[name].flatten()
    units = family.of(name).flatten().argsort(stable=True).view(family.count, family.size)
    ranks = values[units].argsort(dim=1, stable=True)
    ranks = ranks.gather(1, remains[units].gather(1, ranks).byte().argsort(dim=1, stable=True))  # pruned ones first
    best = torch.zeros_like(remains)
    best[units.gather(1, ranks[:, -keep:])] = True
    return (best & remains).view(mask.shapes[name])
