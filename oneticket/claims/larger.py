"""Claim C4: tickets from larger and more complex sources do better elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from oneticket.claims.cells import grid, sparsest
from oneticket.claims.claim import Outcome, Verdict, said
from oneticket.claims.growth import EQUAL, Factor, Growth, comparisons, grown, growths
from oneticket.claims.notes import mixed, weak
from oneticket.claims.pool import Pool
from oneticket.ground.metric import Metric
from oneticket.stats.stats import Interval
from oneticket.stats.summary import Row
from oneticket.stats.words import percent
from oneticket.study.spec import CLAIMS

WHAT = "tickets from one set cut to different sizes, on another set, under one optimizer"


def larger_sources(rows: Sequence[Row], *, level: int | None = None) -> Verdict:
    """C4: tickets from more examples, and from more classes, do better on other data.

    Per target and replicate, the least-squares slope of the score on log2(examples) at equal classes, and on
    log2(classes) at equal examples: what one doubling gains. It holds if both intervals lie above 0, and fails if one
    lies below 0; where one factor alone varies, that one decides, and a note says so. Morcos et al., 2019.

    >>> larger_sources([]).notes
    ('Missing: tickets from one set cut to different sizes, on another set, under one optimizer.',)
    """
    study = grid(rows)
    every = growths(study)
    metrics = list(dict.fromkeys(one.cells[0].setting.metric for one in every)) or [study.metric]
    metric = metrics[0]
    comparable = every if len(metrics) == 1 else []
    able = [one for one in comparable if (one.levels if level is None else level in one.levels)]
    chosen = sparsest(one.levels for one in able) if level is None or not able else level
    found = {} if chosen is None else {factor: grown(able, factor, chosen) for factor in EQUAL}
    pools = {factor: made for factor, made in found.items() if made.values}
    outcome, effect, advice = _decided(pools.values(), wanted=metric.margin and metric.margin / 2)
    out = [one for one in every if one not in able]
    return Verdict(
        claim="C4",
        statement=CLAIMS["C4"],
        outcome=outcome,
        effect=effect,
        unit=f"{metric.gained} per doubling",
        margin=None,
        rule=_rule(able, chosen, pools, metric, asked=level is not None),
        comparisons=() if chosen is None else comparisons(able, chosen),
        advice=advice,
        notes=tuple(_notes(pools, out)) if pools else (mixed(metrics) or _missing(every),),
    )


def _decided(pools: Iterable[Pool], *, wanted: float | None) -> tuple[Outcome, Interval | None, str]:
    """The outcome, and the effect that it hangs on: the one with the lowest bound."""
    effects = [(made.effect, made.advice(wanted)) for made in pools if made.effect is not None]
    if not effects:
        return "not tested", None, Pool(values={}, left=0).advice()
    below = [(effect, advice) for effect, advice in effects if effect.high is not None and effect.high < 0]
    effect, advice = min(below or effects, key=lambda one: one[0].mean if one[0].low is None else one[0].low)
    holds = all(one.low is not None and one.low > 0 for one, _ in effects)
    return "fails" if below else "holds" if holds else "undecided", effect, advice


def _rule(
    able: Sequence[Growth], level: int | None, pools: Mapping[Factor, Pool], metric: Metric, *, asked: bool
) -> str:
    name = metric.name if metric.larger else f"the fall of {metric.name}"
    how = "the one asked for" if asked else "the sparsest that all have"
    if level is not None:
        densities = {percent(cell.levels[level].density) for one in able for cell in one.cells}
        how += f", {level} ({' or '.join(sorted(densities))} of the weights)"
    over = "; ".join(f"{factor}: {made.counted}" for factor, made in pools.items())
    return (
        f"Rows: {WHAT} ({len(able)} slope{'' if len(able) == 1 else 's'}). Level: {how}. "
        f"Effect: for every target and replicate, the least-squares slope of {name} on log2(examples) at equal classes "
        "and on log2(classes) at equal examples, averaged over targets; mean and 95 % Student t interval over "
        "replicates"
        f"{f' ({over})' if over else ''}. "
        "Decision: holds if every interval lies above 0, fails if one lies below 0, else undecided; the effect given "
        "is the one with the lowest bound. Slope by slope: t-tests against 0, p adjusted over the slopes (Holm)."
    )


def _notes(pools: Mapping[Factor, Pool], out: Sequence[Growth]) -> list[str]:
    told = []
    for factor, other in EQUAL.items():
        effect = pools[factor].effect if factor in pools else None
        if effect is None:
            told.append(f"Not tested: more {factor}, since no sources with as many {other} can be compared.")
            continue
        told.append(f"Twice the {factor} at equal {other}: {said(effect)}.")
        told += weak(pools[factor])
        if factor == "classes" and effect.low is not None and effect.high is not None:
            seen = "help" if effect.low > 0 else "hurt" if effect.high < 0 else "are not seen to help or hurt"
            told.append(f"At equal numbers of examples, more classes {seen}.")
    told += [f"Left out, for want of the level: {one.name}." for one in out]
    return told


def _missing(every: Sequence[Growth]) -> str:
    if not every:
        return f"Missing: {WHAT}."
    return f"Missing: a level and a replicate that all of these have: {'; '.join(one.name for one in every)}."
