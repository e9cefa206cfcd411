"""Claim C4: tickets from larger and more complex sources transfer better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from oneticket.claims.cells import ClaimCell, Grid, grid, sparsest
from oneticket.claims.claim import Outcome, Test, Verdict, against, said
from oneticket.claims.growth import EQUAL, Factor, Growth, comparisons, grown, growths
from oneticket.claims.notes import mixed, other_settings, weak
from oneticket.claims.pairs import some
from oneticket.claims.pool import Pool
from oneticket.ground.metric import Metric
from oneticket.stats.stats import Interval, widened
from oneticket.stats.summary import Row
from oneticket.stats.words import listed, percent
from oneticket.study.settings import UPDATE
from oneticket.study.spec import CLAIMS

WHAT = "tickets from one set cut to different sizes, on another set, under one optimizer"


def larger_sources(rows: Sequence[Row], *, level: int | None = None) -> Verdict:
    """C4: tickets from more examples, and from more classes, do better on other data.

    For each target and replicate: the least-squares slope of the score on log2(examples) at equal classes, and on
    log2(classes) at equal examples, which is the gain of one doubling. C4 holds if both intervals lie above 0 and fails
    if one lies below 0. If only one factor varies, that one decides, and a note says so. Morcos et al., 2019.

    >>> larger_sources([]).notes
    ('Missing: tickets from one set cut to different sizes, on another set, under one optimizer.',)
    """
    study = grid(rows)
    every = growths(study)
    metrics = list(dict.fromkeys(one.cells[0].setting.metric for one in every)) or [study.metric]
    metric = metrics[0]
    comparable = every if len(metrics) == 1 else []
    able = [one for one in comparable if (one.levels if level is None else level in one.levels)]
    kept = [one for one in able if one.dense_trained]
    chosen = sparsest(one.levels for one in kept or able) if level is None or not able else level
    pools = _pools(kept, chosen)
    outcome, effect, advice = _decided(pools.values(), metric, wanted=metric.margin and metric.margin / 2)
    rule = (
        _notes(pools, [one for one in every if one not in able], metric)
        if pools
        else [mixed(metrics) or _missing(every)]
    )
    return Verdict(
        claim="C4",
        statement=CLAIMS["C4"],
        outcome=outcome,
        effect=effect,
        margin=None,
        rule=_rule(kept, chosen, pools, metric, asked=level is not None),
        comparisons=() if chosen is None else comparisons(kept, chosen),
        advice=advice,
        notes=(
            *rule,
            *_aside(kept, able, chosen, metric),
            *_several(study),
            *other_settings(_moved(study), UPDATE),
        ),
        metric=metric,
        over="per doubling",
        level=chosen,
        settings=tuple(dict.fromkeys(one.cells[0].setting for one in kept)),
        test=_test(pools, outcome, metric),
    )


def _pools(found: Sequence[Growth], level: int | None) -> dict[Factor, Pool]:
    made = {} if level is None else {factor: grown(found, factor, level) for factor in EQUAL}
    return {factor: one for factor, one in made.items() if one.values}


def _moved(study: Grid) -> list[ClaimCell]:
    """The tickets that were trained on another set than their source."""
    return [cell for cell, source in study.tickets if source.apart(cell.target)]


def _several(study: Grid) -> list[str]:
    """The sources of several sets at once: joint, or a consensus."""
    names = dict.fromkeys(str(cell.line.data) for cell in _moved(study) if cell.source and cell.source.several)
    return [f"Left out, since found on several sets at once: {listed([*names])}."] if names else []


def _aside(kept: Sequence[Growth], able: Sequence[Growth], level: int | None, metric: Metric) -> list[str]:
    """The slopes set aside because the dense network did not train, and the result with them."""
    out = [one.name for one in able if one not in kept]
    outcome, effect, _ = _decided(_pools(able, level).values(), metric, wanted=None)
    if not out:
        return []
    aside = f"Set aside, since the dense network stayed at the commonest class in most trainings: {some(out)}."
    return [aside, f"With all {len(able)} slopes: {outcome}, {said(effect, metric)}."] if effect else [aside]


def _test(pools: Mapping[Factor, Pool], outcome: Outcome, metric: Metric) -> Test | None:
    """The test behind the outcome: every slope must be above 0, or one of them is below."""
    tests = [(made, against(made.values, 0.0, metric)) for made in pools.values()]
    if outcome == "fails":
        found = [test.p for made, test in tests if test.p is not None and made.effect and made.effect.mean < 0]
        words = f"two-sided t-test of the slope below 0 against 0, p times the {len(tests)} slopes that could be"
        return Test(p=min([1.0, *(len(tests) * p for p in found)]), words=words)
    found = [test.p for _, test in tests if test.p is not None]
    p = max(found) if len(found) == len(tests) and found else None
    return Test(p=p, words="two-sided t-tests of the slopes against 0, the largest p of them") if tests else None


def _decided(pools: Iterable[Pool], metric: Metric, *, wanted: float | None) -> tuple[Outcome, Interval | None, str]:
    """The outcome, and the effect that decides it: the one with the lowest bound."""
    effects = [(made.effect, made.advice(metric, wanted)) for made in pools if made.effect is not None]
    if not effects:
        return "not tested", None, Pool(values={}, left=0).advice(metric)
    # One slope of several is enough to fail, so its interval is widened for their number.
    wide = [widened(effect, len(effects)).high for effect, _ in effects]
    below = [one for one, high in zip(effects, wide, strict=True) if high is not None and high < 0]
    effect, advice = min(below or effects, key=lambda one: one[0].mean if one[0].low is None else one[0].low)
    holds = all(one.low is not None and one.low > 0 for one, _ in effects)
    return "fails" if below else "holds" if holds else "undecided", effect, advice


def _rule(
    able: Sequence[Growth], level: int | None, pools: Mapping[Factor, Pool], metric: Metric, *, asked: bool
) -> str:
    name = metric.words if metric.larger else f"the fall of {metric.words}"
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
        "Decision: holds if every interval lies above 0, fails if one lies below 0 also when widened for the number of "
        "slopes (Bonferroni), else undecided; the effect given is the one with "
        "the lowest bound. Slope by slope: the same by intervals that hold together with "
        "95 % (Bonferroni)."
    )


def _notes(pools: Mapping[Factor, Pool], out: Sequence[Growth], metric: Metric) -> list[str]:
    lines = []
    for factor, other in EQUAL.items():
        effect = pools[factor].effect if factor in pools else None
        if effect is None:
            lines.append(f"Not tested: more {factor}, since no sources with as many {other} can be compared.")
            continue
        lines.append(f"Twice the {factor} at equal {other}: {said(effect, metric)}.")
        lines += weak(pools[factor])
        if factor == "classes" and effect.low is not None and effect.high is not None:
            seen = "help" if effect.low > 0 else "hurt" if effect.high < 0 else "are not shown to help or hurt"
            lines.append(f"At equal numbers of examples, more classes {seen}.")
    lines += [f"Left out, because the level is missing: {one.name}." for one in out]
    return lines


def _missing(every: Sequence[Growth]) -> str:
    if not every:
        return f"Missing: {WHAT}."
    return f"Missing: a level and a replicate that all of these have: {'; '.join(one.name for one in every)}."
