"""Notes of a verdict: what else its rows show, what is missing, and what weakens the evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from oneticket.claims.cells import ClaimCell, sparsest
from oneticket.claims.claim import Comparison, Outcome, said
from oneticket.claims.decided import Decided
from oneticket.claims.pairs import Pair, names, pooled, some
from oneticket.claims.pool import Pool
from oneticket.ground.metric import Metric, number
from oneticket.lottery.arms import words_of
from oneticket.stats.equivalence import equivalent
from oneticket.stats.power import NOISE
from oneticket.stats.settings import changes, renamed
from oneticket.stats.stats import bootstrap_interval
from oneticket.stats.words import gained, listed


def beside(pairs: Iterable[Pair], level: int, cells: int) -> list[str]:
    """The same tickets against other arms: one note per arm, over the cells that have it."""
    able = [(pair.rival.line.arm, pair) for pair in pairs if pair.rival is not None and level in pair.levels]
    lines = []
    for arm in dict.fromkeys(arm for arm, _ in able):
        taken = [pair for other, pair in able if other == arm]
        effect = pooled(taken, level).effect
        some = "" if len(taken) == cells else f" ({len(taken)} of {cells} cells)"
        if effect is not None:
            lines.append(f"Against {words_of(arm).phrase}{some}: {said(effect, taken[0].ticket.setting.metric)}.")
    return lines


def equivalence(found: Pool, margin: float, metric: Metric) -> list[str]:
    """Whether the two are shown to be equivalent, which is more than not worse."""
    test = equivalent(found.values, dict.fromkeys(found.values, 0.0), margin)
    if test.p is None:
        return []
    shown, p = "shown" if test.shown else "not shown", "p < 0.001" if test.p < 0.001 else f"p = {number(test.p)}"
    return [f"Equal on average within ±{metric.size(margin)}: {shown} (two one-sided t-tests, {p})."]


def mixed(metrics: Sequence[Metric]) -> str:
    """A note that several metrics cannot be pooled; empty for one."""
    names = listed([one.name for one in metrics])
    return f"Measured by {names}, which cannot be averaged: ask for each part alone." if len(metrics) > 1 else ""


def missing(what: str, against: str, pairs: Sequence[Pair], able: Sequence[Pair], level: int | None) -> str:
    """Why nothing could be pooled."""
    if not pairs:
        return f"Missing: {what}."
    if not able:
        at = "" if level is None else f" at level {level}"
        return f"Missing: {words_of(against).phrase} of the same density{at}, beside {names(pairs)}."
    lacks = "level" if level is None and sparsest(pair.levels for pair in able) is None else "replicate"
    return f"Missing: a {lacks} that all cells have: {names(able)}."


def left_out(against: str, pairs: Iterable[Pair], able: Iterable[Pair]) -> list[str]:
    """The pairs that could not be compared, except those that repeat a pair under another head."""
    kept = {pair.name for pair in able}
    out = [pair for pair in pairs if pair.name not in kept]
    return [f"Left out, because they lack {words_of(against).phrase} at a level: {names(out)}."] if out else []


def aside(kept: Sequence[Pair], able: Sequence[Pair], every: Decided) -> list[str]:
    """The cells set aside because their dense network did not train, and the result of all cells together."""
    kept_names = {pair.name for pair in kept}
    out = [pair for pair in able if pair.name not in kept_names]
    aside = (
        f"Set aside, since the dense network stayed at the commonest class in more than half of its trainings: "
        f"{names(out)}."
    )
    metric = able[0].ticket.setting.metric
    return (
        [aside, f"With all {len(able)} cells: {every.outcome}, {said(every.effect, metric)}."]
        if every.effect
        else [aside]
    )


def other_settings(cells: Iterable[ClaimCell], columns: Iterable[str]) -> list[str]:
    """The tickets trained under the optimizer of the same name that found them, but with other settings."""
    columns = tuple(columns)
    found = {cell.place: changes(cell.row, columns) for cell in cells if not renamed(cell.row)}
    out = [f"{place} ({said})" for place, said in found.items() if said]
    return [f"Left out, since found under other settings: {some(out)}."] if out else []


def weak(found: Pool) -> list[str]:
    """A note on an interval of width zero."""
    effect = found.effect
    if effect is None or effect.half is None or effect.half > NOISE:
        return []
    return ["The replicates show no spread, so the interval has no width: weak evidence."]


def doubts(
    able: Sequence[Pair],
    level: int,
    found: Pool,
    outcome: Outcome,
    margin: float,
    everywhere: Sequence[Comparison],
) -> list[str]:
    """Why an effect that would decide does not: no spread, nothing learned, or a cell with the opposite outcome.

    `everywhere`: the cells of which none may fail.
    """
    if outcome == "undecided" or found.effect is None:
        return []
    lines = []
    if found.effect.half is not None and found.effect.half <= NOISE:
        lines += [f"{said} So it is undecided." for said in weak(found)]
    if len(_at_chance(able, level, margin)) == len(able):
        lines.append("Undecided, since no network of these cells has learned anything.")
    below = [f"{one.what} on {one.where} ({one.model})" for one in everywhere if one.outcome == "fails"]
    if below and outcome == "holds":
        bound = able[0].ticket.setting.metric.size(-margin)
        lines.append(
            f"Undecided, since it does not hold everywhere: the interval lies below {bound} for {some(below)}."
        )
    return lines


def resampled(found: Pool, metric: Metric) -> list[str]:
    """The bootstrap interval, to compare with Student's, if there are enough replicates to resample."""
    if len(found.values) < 5:
        return []
    one = bootstrap_interval(found.values.values())
    return [f"Bootstrap ({one.method}) of the effect: {gained(one, metric)}."] if one.low is not None else []


def chance(able: Sequence[Pair], level: int, margin: float) -> list[str]:
    """Cells in which neither network has learned anything, so that neither can be better."""
    at = _at_chance(able, level, margin)
    if not at:
        return []
    cells = f"{len(at)} of {len(able)} cells"
    room = able[0].ticket.setting.metric.size(margin)
    return [f"In {cells} both are at chance (1 / classes + {room} at most): {names(at)}."]


def _at_chance(able: Sequence[Pair], level: int, margin: float) -> list[Pair]:
    return [
        pair
        for pair in able
        if pair.rival is not None
        and pair.ticket.setting.metric.name == "accuracy"
        and max(cell.levels[level].score.mean for cell in (pair.ticket, pair.rival))
        < 1 / (pair.ticket.target.classes or math.inf) + margin
    ]


def small(found: Pool, outcome: Outcome, margin: float, metric: Metric) -> list[str]:
    """A note on a difference that is significant but too small to matter."""
    high = None if found.effect is None else found.effect.high
    if outcome != "holds" or high is None or high >= margin:
        return []
    return [f"The whole interval lies below the margin of {metric.size(margin)}: shown, but small."]
