"""A claim's values: a verdict, its comparisons, and the rules that turn an effect into an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from oneticket.ground.metric import METRICS, Metric
from oneticket.stats.equivalence import equivalent
from oneticket.stats.power import NOISE
from oneticket.stats.stats import CONFIDENCE, Interval, Paired, paired, widened
from oneticket.stats.summary import Row, Setting
from oneticket.stats.words import gained, percent

Outcome = Literal["holds", "fails", "undecided", "not tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One cell behind a verdict: what is compared with what, where, and the paired difference.

    `together`: the interval of the difference that holds for all comparisons of the verdict together with 95 %
    (Bonferroni). `outcome`: what the claim's rule decides for that interval.
    """

    what: str
    against: str
    model: str
    where: str
    level: int
    density: float
    paired: Paired
    together: Interval
    outcome: Outcome = "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Test:
    """The test behind a rule's decision: its p value (None without one), and its name in words."""

    p: float | None
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Still:
    """Whether the targets' own tickets match dense networks: own - dense over replicates, within a margin."""

    effect: Interval
    margin: float | None
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A study's answer to a claim.

    `effect`: the pooled difference that decided, in the unit of `metric`; None where nothing could be pooled. `over`:
    its baseline or its unit, such as `over the global random ticket`, `per doubling`. `rule`: the rule as applied, in
    words and numbers. `margin`: the largest difference that does not matter; None where the rule has none.
    `comparisons`: every cell behind it. `advice`: what this number of replicates can show. `notes`: caveats and further
    findings. `level`: where it was decided; `settings`: in which settings. `test`: the test behind the outcome.

    The other fields place it among all verdicts of a study (`claims.family`): `density`, as the study states it;
    `equal`: at equal `epochs` or `steps`; `adjusted`: p after Holm's correction over `family` verdicts; `still`:
    whether own tickets match dense networks there.
    """

    claim: str
    statement: str
    outcome: Outcome
    effect: Interval | None
    margin: float | None
    rule: str
    comparisons: tuple[Comparison, ...]
    advice: str
    notes: tuple[str, ...]
    metric: Metric = METRICS["accuracy"]
    over: str = ""
    level: int | None = None
    settings: tuple[Setting, ...] = ()
    test: Test | None = None
    density: float | None = None
    equal: str | None = None
    adjusted: float | None = None
    family: int = 1
    still: Still | None = None

    @property
    def name(self) -> str:
        """The claim and where it is judged, such as `C3 at 17 %, equal steps`."""
        return " ".join(filter(None, [self.claim, "at" if self.density else "", self.at]))

    @property
    def at(self) -> str:
        """Where it is judged, such as `17 %, equal steps`; empty for a verdict that stands for all."""
        density = [percent(self.density)] if self.density else []
        return ", ".join([*density, *([f"equal {self.equal}"] if self.equal else [])])

    @property
    def unit(self) -> str:
        """The unit of the effect, as files write it: `accuracy`, `lower rmse (mmol)`, `accuracy per doubling`."""
        return f"{self.metric.gained} {self.over}" if self.over.startswith("per ") else self.metric.gained

    @property
    def survives(self) -> bool | None:
        """Whether the outcome survives the correction over all verdicts; None where nothing was decided."""
        decided = self.outcome in ("holds", "fails")
        return (self.adjusted is not None and self.adjusted < 1 - CONFIDENCE) if decided else None


Claim = Callable[[Sequence[Row]], Verdict]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How an effect decides within a margin, and the same in words, where {margin} stands for the margin.

    `test`: the matching test, from one difference per replicate, the margin and the metric.
    """

    decide: Callable[[Interval, float], Outcome]
    words: str
    test: Callable[[Mapping[int, float], float, Metric], Test] | None = None


def superior(effect: Interval, margin: float) -> Outcome:
    """`holds` if the interval lies above 0; `fails` if it lies below 0 or within ±margin; else `undecided`.

    >>> superior(Interval(mean=0.04, low=0.01, high=0.07, n=3), 0.02)
    'holds'
    >>> superior(Interval(mean=0.04, low=-0.01, high=0.09, n=3), 0.02)
    'undecided'
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    if effect.low > 0:
        return "holds"
    return "fails" if effect.high < 0 or (effect.low > -margin and effect.high < margin) else "undecided"


def non_inferior(effect: Interval, margin: float) -> Outcome:
    """`holds` if the interval lies above -margin; `fails` if it lies below -margin; else `undecided`.

    >>> non_inferior(Interval(mean=0.0, low=-0.01, high=0.01, n=3), 0.02)
    'holds'
    """
    if effect.low is None or effect.high is None:
        return "undecided"
    return "holds" if effect.low > -margin else "fails" if effect.high < -margin else "undecided"


def superior_test(values: Mapping[int, float], margin: float, metric: Metric) -> Test:
    """The two-sided t-test against 0; if it is not significant and the effect lies within ±margin, the test of that.

    The deciding interval is one of 95 %, so the two one-sided tests behind "within" are at 2.5 %: their p is doubled.

    >>> superior_test({0: 0.03, 1: 0.04, 2: 0.05}, 0.02, METRICS["accuracy"]).words
    'two-sided t-test against 0'
    """
    above = against(values, 0.0, metric)
    if above.p is None or above.p < 1 - CONFIDENCE:
        return above
    close = equivalent(values, dict.fromkeys(values, 0.0), margin, (1 + CONFIDENCE) / 2).p
    if close is None or 2 * close >= 1 - CONFIDENCE:
        return above
    return Test(p=2 * close, words=f"two one-sided t-tests against ±{metric.size(margin)}, p doubled")


def non_inferior_test(values: Mapping[int, float], margin: float, metric: Metric) -> Test:
    """The two-sided t-test against -margin.

    >>> non_inferior_test({0: 0.00, 1: 0.01, 2: -0.01}, 0.05, METRICS["accuracy"]).words
    'two-sided t-test against −5.0 points'
    """
    return against(values, -margin, metric)


def against(values: Mapping[int, float], bound: float, metric: Metric) -> Test:
    """The two-sided t-test of the mean against a bound; p is None for one replicate or for values without spread."""
    found = paired(values, dict.fromkeys(values, bound)) if values else None
    flat = found is None or found.difference.half is None or found.difference.half <= NOISE
    words = f"two-sided t-test against {metric.size(bound) if bound else 0}"
    return Test(p=None if flat or found is None else found.p, words=words)


def compared(comparisons: Iterable[Comparison], rule: Rule, margin: float | None) -> tuple[Comparison, ...]:
    """The comparisons of one verdict, with simultaneous intervals and the rule's outcome for each."""
    comparisons = list(comparisons)
    made = []
    for one in comparisons:
        wide = widened(one.paired.difference, len(comparisons))
        flat = wide.half is None or wide.half <= NOISE
        outcome: Outcome = "undecided" if margin is None or flat else rule.decide(wide, margin)
        made.append(replace(one, together=wide, outcome=outcome))
    return tuple(made)


def said(effect: Interval, metric: Metric) -> str:
    """An effect in a sentence: its mean, interval, n and direction.

    >>> said(Interval(mean=0.04, low=0.01, high=0.07, n=3), METRICS["accuracy"])
    '+4.0 points (95 % CI 1.0 to 7.0, n = 3), above 0'
    """
    if effect.low is None or effect.high is None:
        return gained(effect, metric)
    seen = "above 0" if effect.low > 0 else "below 0" if effect.high < 0 else "not shown to differ from 0"
    return f"{gained(effect, metric)}, {seen}"


SUPERIOR = Rule(
    decide=superior,
    words="holds if it lies above 0, fails if it lies below 0 or within ±{margin}, else undecided",
    test=superior_test,
)
NON_INFERIOR = Rule(
    decide=non_inferior,
    words="holds if it lies above −{margin} and no cell's own below it, fails if it lies below, else undecided",
    test=non_inferior_test,
)
