"""The metric that counts: what a score is called, in which unit its numbers are written, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oneticket.ground.errors import SpecError

NOISE = 1e-9  # shares of equal counts may differ by rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number by which trained networks are compared.

    `larger`: whether larger scores are better. `low`, `high`: its bounds, None without one. `margin`: the largest
    difference that does not matter, in the metric's unit, unless a study states another; None without a general one.
    `share`: whether scores are shares, which are written in percent, and their differences in points.
    """

    name: str
    unit: str = ""
    larger: bool = True
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    share: bool = False

    @property
    def words(self) -> str:
        """Its name as it stands in a sentence: `bits per byte`."""
        return self.name.replace("_", " ")

    def gain(self, score: float, other: float) -> float:
        """By how much a score is better than another: above 0 is better, also if lower scores are better.

        >>> METRICS["accuracy"].gain(0.75, 0.5), METRICS["rmse"].gain(50.0, 54.0)
        (0.25, 4.0)
        """
        return score - other if self.larger else other - score

    def gains(self, scores: Mapping[int, float], others: Mapping[int, float]) -> dict[int, float]:
        """The gain of each replicate that both have."""
        return {at: self.gain(scores[at], others[at]) for at in sorted(scores.keys() & others.keys())}

    def clipped(self, score: float) -> float:
        """The score within the metric's bounds: an interval's end may lie beyond them.

        >>> METRICS["accuracy"].clipped(1.02), METRICS["rmse"].clipped(-1.0)
        (1.0, 0.0)
        """
        score = score if self.low is None else max(self.low, score)
        return score if self.high is None else min(self.high, score)

    def written(self, value: float, *, signed: bool = False) -> str:
        """A score or a difference as a number, in the unit used for display; `signed`: with a plus sign if above 0.

        >>> METRICS["accuracy"].written(0.963), METRICS["accuracy"].written(0.208, signed=True)
        ('96.3', '+20.8')
        >>> METRICS["rmse"].written(54.25)
        '54.250'
        """
        text = number(self.factor * value, 1 if self.share else None)
        return f"+{text}" if signed and value > NOISE else text

    def score(self, value: float) -> str:
        """A score with its unit: `96.3 %`, `54.250 mmol`, `0.693 loss`."""
        return f"{self.written(value)} {'%' if self.share else self.unit or self.words}"

    def size(self, difference: float, *, signed: bool = False) -> str:
        """A difference with its unit: `20.8 points`, `4.000 mmol`."""
        return f"{self.written(difference, signed=signed)} {self.units}"

    def gained_words(self, mean: float, low: float | None, high: float | None, n: int, *, signed: bool = True) -> str:
        """A difference in words, with its 95 % interval and the number of replicates.

        >>> METRICS["accuracy"].gained_words(0.208, 0.005, 0.41, 3)
        '+20.8 points (95 % CI 0.5 to 41.0, n = 3)'
        >>> METRICS["accuracy"].gained_words(-0.01, None, None, 1)
        '−1.0 points (n = 1, no interval)'
        """
        return f"{self.size(mean, signed=signed)} ({self.interval_words(low, high, n)})"

    def within(self, mean: float, low: float | None, high: float | None, n: int, *, signed: bool = False) -> str:
        """A mean with the bounds of its interval, as in a cell; with n where there is no interval.

        `signed`: for a difference, with a plus sign above 0; else it is a score, whose bounds are within the metric's.

        >>> METRICS["accuracy"].within(0.98, 0.94, 1.02, 3), METRICS["accuracy"].within(0.98, None, None, 1)
        ('98.0 [94.0, 100.0]', '98.0 (n = 1)')
        >>> METRICS["accuracy"].within(0.02, 0.01, 0.03, 5, signed=True)
        '+2.0 [1.0, 3.0]'
        """
        written = self.written(mean, signed=signed)
        if low is None or high is None:
            return f"{written} (n = {n})"
        low, high = (low, high) if signed else (self.clipped(low), self.clipped(high))
        return f"{written} [{self.written(low)}, {self.written(high)}]"

    def score_interval_words(self, low: float | None, high: float | None, n: int) -> str:
        """The text in brackets after a mean score: its interval stays within the metric's bounds."""
        if low is None or high is None:
            return self.interval_words(low, high, n)
        return self.interval_words(self.clipped(low), self.clipped(high), n)

    def interval_words(self, low: float | None, high: float | None, n: int) -> str:
        """The text in brackets after a mean."""
        if low is None or high is None:
            return f"n = {n}, no interval"
        return f"95 % CI {self.written(low)} to {self.written(high)}, n = {n}"

    @property
    def factor(self) -> int:
        """The factor from a score to its display: 100 for a share."""
        return 100 if self.share else 1

    @property
    def units(self) -> str:
        """What differences are counted in: `points` of a share, else its unit or, without one, its name."""
        return "points" if self.share else self.unit or self.words

    @property
    def heading(self) -> str:
        """What stands above a column of its scores: `accuracy (%)`, `rmse (mmol)`."""
        return f"{self.words} (%)" if self.share else self.label

    @property
    def label(self) -> str:
        """Its name with its unit, as on an axis: `accuracy`, `rmse (mmol)`; some units are the whole label.

        >>> METRICS["bits_per_byte"].label
        'bits per byte'
        """
        return f"{self.words} ({self.unit})" if self.unit and self.unit != self.words else self.words

    @property
    def gained(self) -> str:
        """What a gain is a gain of: `accuracy`, `lower rmse (mmol)`."""
        return self.label if self.larger else f"lower {self.label}"

    @property
    def gained_in(self) -> str:
        """The unit of a gain: `points of accuracy`, `lower rmse (mmol)`."""
        return f"{self.units} of {self.words}" if self.share else self.gained

    @property
    def better(self) -> str:
        """`higher` or `lower`: which scores are the better ones."""
        return "higher" if self.larger else "lower"

    @property
    def above(self) -> str:
        """What a gain over something is called in a sentence."""
        return "above" if self.larger else "better than"

    @property
    def below(self) -> str:
        """What a loss against something is called in a sentence."""
        return "below" if self.larger else "worse than"

    def plain(self) -> dict[str, str]:
        """The columns that describe it in a row: `metric`, `unit`, `better`."""
        return {"metric": self.name, "unit": self.unit, "better": self.better}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Metric:
        """The metric of a row of results; accuracy for rows of earlier versions that name none.

        Raises SpecError for a direction that is neither `higher` nor `lower`, and for an unknown metric without one.

        >>> Metric.of({"metric": "rmse", "unit": "mmol", "better": "lower"}).gain(2.0, 3.0)
        1.0
        """
        name = str(row.get("metric") or "accuracy")
        known = METRICS.get(name)
        better = row.get("better") or (known.better if known else "")
        if better not in ("higher", "lower"):
            raise SpecError(f"better: expected higher or lower for the metric {name}, got {better!r}")
        unit = str(row.get("unit") or (known.unit if known else ""))
        if known and known.better == better:
            return known if known.unit == unit else cls(name=name, unit=unit, larger=known.larger, low=known.low)
        return cls(name=name, unit=unit, larger=better == "higher")


def score_of(row: Mapping[str, Any]) -> float | None:
    """A row's score: of an earlier version's row its accuracy; None where it has neither."""
    score = row.get("score")
    return row.get("accuracy") if score is None else score


def named(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the rows are measured by, in words.

    >>> named([{"accuracy": 0.5}, {"metric": "rmse", "score": 1.0}])
    'accuracy or rmse'
    """
    return " or ".join(dict.fromkeys(Metric.of(row).label for row in rows)) or "score"


def number(value: float, places: int | None = None) -> str:
    """A number to three decimals, from 100 on to one and from 1,000 on to none, or to `places`; with a true minus sign.

    What would be rounded to 0 gets more decimals, as many as its first digit takes: it keeps its sign.

    >>> number(0.95449), number(-0.0181), number(-0.0001), number(154.32), number(-20514.2)
    ('0.954', '−0.018', '−0.0001', '154.3', '−20,514')
    >>> number(0.04, 1), number(-0.0021, 1), number(20.84, 1), number(0.0, 1)
    ('0.04', '−0.002', '20.8', '0.0')
    """
    if abs(value) <= NOISE:
        value = 0.0
    if places is None:
        places = 3 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    while value and not float(f"{value:.{places}f}"):
        places += 1
    return f"{value:,.{places}f}".replace("-", "−")


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", low=0.0, high=1.0, margin=0.02, share=True),
        Metric(name="rmse", larger=False, low=0.0),
        Metric(name="bits_per_byte", unit="bits per byte", larger=False, low=0.0, margin=0.02),
    )
}
"""The metrics known by name."""
