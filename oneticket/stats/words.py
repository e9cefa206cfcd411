"""The words and numbers of a report, the same in tables, charts and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from oneticket.ground.metric import NOISE, Metric, number
from oneticket.lottery.arms import ARMS
from oneticket.stats.stats import Interval

MISSING = "—"


def percent(density: float) -> str:
    """A density in percent, to two significant digits.

    >>> percent(1.0), percent(0.32768), percent(0.0353), percent(0.0012), percent(5.8e-7)
    ('100 %', '33 %', '3.5 %', '0.12 %', '0.000058 %')
    """
    return f"{Decimal(f'{100 * density:.2g}').normalize():f} %"


def plus_minus(interval: Interval, metric: Metric | None = None) -> str:
    """A mean and half its interval, as in a table's cell, in the metric's unit; with n where there is no interval.

    >>> from oneticket.ground.metric import METRICS
    >>> plus_minus(Interval(mean=0.95, low=0.925, high=0.975, n=3), METRICS["accuracy"])
    '95.0 ± 2.5'
    >>> plus_minus(Interval(mean=0.95, low=None, high=None, n=1))
    '0.950 (n = 1)'
    """
    write = number if metric is None else metric.written
    if interval.half is None:
        return f"{write(interval.mean)} (n = {interval.n})"
    return f"{write(interval.mean)} ± {write(interval.half)}"


def within(interval: Interval, metric: Metric | None = None, *, signed: bool = False) -> str:
    """A mean with the bounds of its interval, as in a tooltip, in the metric's unit; with n where there is no interval.

    `signed`: for a difference, with a plus sign above 0; else it is a score, whose bounds are within the metric's.

    >>> from oneticket.ground.metric import METRICS
    >>> within(Interval(mean=0.95, low=0.925, high=0.975, n=3), METRICS["accuracy"])
    '95.0 [92.5, 97.5]'
    >>> within(Interval(mean=0.95, low=0.925, high=0.975, n=3))
    '0.950 [0.925, 0.975]'
    >>> within(Interval(mean=0.98, low=0.94, high=1.02, n=3), METRICS["accuracy"])
    '98.0 [94.0, 100.0]'
    """
    if metric is not None:
        return metric.within(interval.mean, interval.low, interval.high, interval.n, signed=signed)
    mean = f"{'+' * (signed and interval.mean > NOISE)}{number(interval.mean)}"
    if interval.low is None or interval.high is None:
        return f"{mean} (n = {interval.n})"
    return f"{mean} [{number(interval.low)}, {number(interval.high)}]"


def gained(interval: Interval, metric: Metric) -> str:
    """A difference in words, with interval and n.

    >>> from oneticket.ground.metric import METRICS
    >>> gained(Interval(mean=0.208, low=0.005, high=0.41, n=3), METRICS["accuracy"])
    '+20.8 points (95 % CI 0.5 to 41.0, n = 3)'
    """
    return metric.gained_words(interval.mean, interval.low, interval.high, interval.n)


def margin_words(margin: float, metric: Metric) -> str:
    """A difference with its unit.

    >>> from oneticket.ground.metric import METRICS
    >>> margin_words(0.02, METRICS["accuracy"]), margin_words(0.02, METRICS["bits_per_byte"])
    ('2.0 points of accuracy', '0.020 bits per byte')
    """
    alone = metric.units in (metric.words, metric.label)
    return metric.size(margin) + ("" if alone else f" of {metric.words}")


def listed(parts: Sequence[str], word: str = "and") -> str:
    """The parts as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")
    ('a', 'a and b', 'a, b, or c')
    """
    if len(parts) < 3:
        return f" {word} ".join(parts)
    return f"{', '.join(parts[:-1])}, {word} {parts[-1]}"


def counts(numbers: list[int]) -> str:
    """How many replicates, as one number or a range.

    >>> counts([3, 3]), counts([2, 3])
    ('n = 3 replicates', 'n = 2 to 3 replicates')
    """
    low, high = min(numbers), max(numbers)
    span = str(low) if low == high else f"{low} to {high}"
    return f"n = {span} replicate{'' if high == 1 else 's'}"


def without(numbers: Iterable[int]) -> str:
    """What follows a word on intervals where there is a mean of one replicate; nothing where there is none.

    >>> without([1, 3]), without([3])
    ('; one replicate has none', '')
    """
    return "; one replicate has none" * (1 in numbers)


def arm_place(arm: str) -> tuple[int, str]:
    """The place of an arm in tables; the user's own come last, by name."""
    return list(ARMS).index(arm) if arm in ARMS else len(ARMS), arm


def label_place(label: str) -> tuple[int, str]:
    """The place of an arm's label in legends, where its source may follow the label."""
    labels = [arm.label for arm in ARMS.values()]
    return next((place for place, known in enumerate(labels) if label.startswith(known)), len(labels)), label
