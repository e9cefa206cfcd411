"""Judging: the pairs of one question, pooled at one level, and the verdict by its rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oneticket.claims import notes
from oneticket.claims.cells import sparsest
from oneticket.claims.claim import NON_INFERIOR, SUPERIOR, Rule, Verdict
from oneticket.claims.decided import Decided
from oneticket.claims.pairs import Pair, comparisons, pooled
from oneticket.claims.pool import Pool
from oneticket.ground.errors import SpecError
from oneticket.ground.metric import METRICS, Metric
from oneticket.lottery.arms import words_of
from oneticket.stats.words import percent


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A claim's question: whether `rows` (tickets, in words) compare with the arm `against` as the rule says."""

    name: str
    statement: str
    rows: str
    against: str
    rule: Rule = SUPERIOR


def judge(
    question: Question,
    pairs: Iterable[Pair],
    *,
    margin: float | None = None,
    level: int | None = None,
    beside: Iterable[Pair] = (),
    metric: Metric = METRICS["accuracy"],
    more: Iterable[str] = (),
) -> Verdict:
    """The verdict on a question: the rule applied to the interval of the pooled gains of its pairs.

    A gain is how much better the ticket is in its rows' metric: positive is better, whichever way the metric counts.
    `margin`: the largest difference that does not matter, in the metric's unit; by default the metric's own, and
    without one the verdict is undecided. Pairs with different metrics are not averaged.

    `level`: by default the sparsest that all pairs have. `beside`: the same tickets compared with other arms, for the
    notes. `metric`: the metric to name if there are no pairs. `more`: further notes. Pairs that cannot be compared are
    excluded and named. Pairs whose dense network did not train are excluded too, and a note gives the result of all.
    Without pairs the verdict is `not tested`, with the reason. Raises SpecError for a margin that is not above 0.

    >>> asked = Question(name="mine", statement="Mine win.", rows="my tickets", against="reinit")
    >>> verdict = judge(asked, [], margin=0.02)
    >>> verdict.outcome, verdict.notes
    ('not tested', ('Missing: my tickets.',))
    """
    if margin is not None and not margin > 0:
        raise SpecError(f"margin: expected more than 0, got {margin}; say which difference would not matter")
    pairs = list(pairs)
    metrics = list(dict.fromkeys(pair.ticket.setting.metric for pair in pairs)) or [metric]
    margin = metrics[0].margin if margin is None else margin
    able = (
        [] if len(metrics) > 1 else [pair for pair in pairs if (pair.levels if level is None else level in pair.levels)]
    )
    kept = [pair for pair in able if pair.ticket.dense_trained]
    chosen = sparsest(pair.levels for pair in kept or able) if level is None or not able else level
    made = _decided(question, kept, chosen, margin)
    if len(metrics) > 1:
        reasons = [notes.mixed(metrics)]
    elif made.effect is None and (kept or not able):
        reasons = [notes.missing(question.rows, question.against, pairs, able, level)]
    else:
        reasons = [*made.notes]
        if chosen is not None and len(kept) < len(able):
            reasons += notes.aside(kept, able, _decided(question, able, chosen, margin))
        if chosen is not None and made.effect is not None and margin is not None:
            reasons += notes.beside(beside, chosen, len(kept))
            reasons += notes.left_out(question.against, pairs, able)
    return Verdict(
        claim=question.name,
        statement=question.statement,
        outcome=made.outcome,
        effect=made.effect,
        margin=margin,
        rule=_rule(question, kept, chosen, made.pool, metrics[0], margin=margin, asked=level is not None),
        comparisons=made.comparisons,
        advice=made.pool.advice(metrics[0], None if margin is None else margin / 2),
        notes=(*reasons, *more),
        metric=metrics[0],
        over=f"over {words_of(question.against).phrase}",
        level=chosen,
        settings=tuple(dict.fromkeys(pair.ticket.setting for pair in kept)),
        test=made.test,
    )


def _decided(question: Question, pairs: Sequence[Pair], level: int | None, margin: float | None) -> Decided:
    """The rule's result for those pairs at that level."""
    found = Pool(values={}, left=0) if level is None else pooled(pairs, level)
    cells = () if level is None else comparisons(pairs, level, question.rule, margin)
    if level is None or found.effect is None:
        return Decided(pool=found, comparisons=cells, outcome="not tested")
    if margin is None:
        label = pairs[0].ticket.setting.metric.label
        reasons = [f"Undecided, since the study names no margin: the difference in {label} that would not matter."]
        return Decided(pool=found, comparisons=cells, outcome="undecided", notes=tuple(reasons))
    close = question.rule == NON_INFERIOR
    outcome = question.rule.decide(found.effect, margin)
    doubts = notes.doubts(pairs, level, found, outcome, margin, cells if close else ())
    outcome = "undecided" if doubts else outcome
    metric = pairs[0].ticket.setting.metric
    reasons = notes.equivalence(found, margin, metric) if close else notes.small(found, outcome, margin, metric)
    reasons += [*doubts, *notes.resampled(found, metric), *notes.chance(pairs, level, margin)]
    # If doubts decide, the outcome does not rest on the rule's test.
    test = question.rule.test(found.values, margin, metric) if question.rule.test and not doubts else None
    return Decided(pool=found, comparisons=cells, outcome=outcome, notes=tuple(reasons), test=test)


def _rule(
    question: Question,
    able: Sequence[Pair],
    level: int | None,
    found: Pool,
    metric: Metric,
    *,
    margin: float | None,
    asked: bool,
) -> str:
    rival = words_of(question.against).phrase
    gain = f"{metric.label} minus that of {rival}" if metric.larger else f"{metric.label} of {rival} minus the ticket's"
    words = question.rule.words.format(margin="margin" if margin is None else metric.size(margin))
    how = "the one asked for" if asked else "the sparsest that all cells have"
    return (
        f"Rows: {question.rows} ({len(able)} cell{'' if len(able) == 1 else 's'}). "
        f"Level: {how}{'' if level is None else f', {level} ({_kept(able, level)})'}. "
        f"Effect: {gain}, replicate by replicate, averaged over the cells; mean and 95 % Student t interval over "
        f"{found.counted}. "
        f"Decision by that interval: {words}. "
        "Cell by cell: the same rule by intervals that hold together with 95 % (Bonferroni)."
    )


def _kept(able: Sequence[Pair], level: int) -> str:
    if not able:
        return "no cell"
    densities = sorted(pair.ticket.levels[level].density for pair in able)
    ends = dict.fromkeys(percent(density) for density in (densities[0], densities[-1]))
    return f"{' to '.join(ends)} of the weights"
