"""Standing: a ticket's worst and best target against each rival, with intervals adjusted over all targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneticket.ground.metric import Metric
from oneticket.lottery.arms import CROSSED, OF_TARGET, WHOLE, words_of
from oneticket.ticket.describe import metric_of, word

CONFIDENCE = 0.95
Score = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """By how much a ticket is better than an arm on a target, in the metric's unit; above 0 it is better.

    `low` and `high` are None where n is 1.
    """

    data: str
    arm: str
    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a ticket compares with one `rival`: a key of `RIVALS`.

    `gains`: one for each target, worst first, over the rival's arm that is strongest there. `compared`: for how
    many differences their intervals hold simultaneously.
    """

    rival: str
    metric: Metric
    gains: tuple[Gain, ...]
    compared: int

    @property
    def rival_words(self) -> str:
        """The rival in words."""
        return RIVALS[self.rival][0]

    @property
    def lines(self) -> tuple[str, ...]:
        """The worst target and the best, a line each; one line if there is one target."""
        worst, best = self.gains[0], self.gains[-1]
        if worst is best:
            return (f"the only set: {self.words(best)}",)
        return f"worst: {self.words(worst)}", f"best: {self.words(best)}"

    def words(self, gain: Gain) -> str:
        """A gain with its target, in words."""
        return f"{self.amount(gain)}, on {word(gain.data)}"

    def amount(self, gain: Gain) -> str:
        """A gain with its interval and n, and with the arm if the rival has several."""
        arm = f" over {word(words_of(gain.arm).phrase)}" if self.rival == "controls" else ""
        if gain.low is not None and gain.low == gain.high:  # no spread: most likely all predict one class
            return f"{self.metric.size(gain.mean, signed=True)}{arm} in all {gain.n} pairs"
        bounds = self.metric.interval_words(gain.low, gain.high, gain.n)
        return f"{self.metric.size(gain.mean, signed=True)}{arm} ({bounds})"


def standings(scores: Iterable[Score]) -> list[Standing]:
    """One for each measured rival, in the order of `RIVALS`.

    `scores`: as from `describe.scores`. Their intervals are Student's for one mean at 95 %. Here they are widened to
    hold simultaneously at 95 % for all comparisons with a rival: each is at 1 - 0.05 / (targets x arms) (Bonferroni).
    Gains in different metrics are not compared: of several metrics, the one with most targets is used.

    >>> gain = {"mean": 0.02, "low": 0.01, "high": 0.03, "n": 5}
    >>> rows = [{"data": data, "optimizer": "sgd", "arm": "dense", "difference": gain} for data in ("svhn", "digits")]
    >>> print(standings(rows)[0].words(standings(rows)[0].gains[0]))
    +2.0 points (95 % CI 0.7 to 3.3, n = 5), on svhn
    """
    rows = [row for row in scores if row["difference"] and row["arm"] != "ticket"]
    made = []
    for rival, (_, takes) in RIVALS.items():
        theirs = [row for row in rows if takes(row["arm"])]
        usual = _usual(theirs)
        theirs = [row for row in theirs if metric_of(row) == usual]
        if usual is None or not theirs:
            continue
        strongest: dict[tuple[str, str], Gain] = {}
        for row in theirs:
            gain, target = _gain(row, len(theirs)), (row["data"], word(row["optimizer"]))
            if target not in strongest or gain.mean < strongest[target].mean:
                strongest[target] = gain
        gains = tuple(sorted(strongest.values(), key=lambda each: each.mean))
        made.append(Standing(rival=rival, metric=usual, gains=gains, compared=len(theirs)))
    return made


def _usual(rows: Sequence[Score]) -> Metric | None:
    """The metric that most targets have."""
    targets = {(row["data"], word(row["optimizer"]), metric_of(row)) for row in rows}
    counts = Counter(metric for *_, metric in sorted(targets, key=str))
    return counts.most_common(1)[0][0] if counts else None


def _gain(row: Score, compared: int) -> Gain:
    above = row["difference"]
    mean, low, high, n = (above[name] for name in ("mean", "low", "high", "n"))
    if low is not None and n > 1:
        times = _quantile(n, compared) / _quantile(n, 1)
        low, high = mean - times * (mean - low), mean + times * (high - mean)
    return Gain(data=row["data"], arm=row["arm"], mean=mean, low=low, high=high, n=n)


def _quantile(n: int, compared: int) -> float:
    """How many standard errors lie between the mean of n values and either end of its interval."""
    wanted, low, high = 1 - (1 - CONFIDENCE) / compared, 0.0, 1.0
    while share_within(high, n - 1) < wanted:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_within(middle, n - 1) < wanted else (low, middle)
    return high


def share_within(t: float, freedom: int) -> float:
    """The probability that Student's t, of so many degrees of freedom, lies within ±t.

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4, since a minimal install shows cards without SciPy.

    >>> round(share_within(2.776, 4), 4), round(share_within(12.706, 1), 4)
    (0.95, 0.95)
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(odd + 1, freedom, 2):
        total += term
        term *= square * step / (step + 1)
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


def _is_control(arm: str) -> bool:
    return arm not in ("ticket", *WHOLE, *OF_TARGET, *CROSSED)


RIVALS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "dense": ("the dense network", lambda arm: arm == "dense"),
    "own": ("the target's own ticket", lambda arm: arm == "own"),
    "controls": ("its strongest control", _is_control),
}
"""The baselines of a ticket: in words, and their arms. Controls are what it must beat to be a winning ticket."""

ADJUSTED = (
    "In each line the intervals hold together at 95 %: Bonferroni over all targets and, where the strongest control of "
    "each is taken, over all controls."
)
"""How the intervals of a `Standing` are adjusted, for captions."""
