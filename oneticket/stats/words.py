"""The words and numbers of a report, the same in tables, charts and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from oneticket.lottery.spec import ARMS, Arm
from oneticket.stats.stats import Interval

MISSING = "—"


def percent(density: float) -> str:
    """A density in percent, to two significant digits.

    >>> percent(1.0), percent(0.32768), percent(0.0353), percent(0.0012)
    ('100 %', '33 %', '3.5 %', '0.12 %')
    """
    return f"{float(f'{100 * density:.2g}'):g} %"


def number(value: float) -> str:
    """A number to three decimals, from 100 on to one and from 1,000 on to none; with a true minus sign.

    >>> number(0.95449), number(-0.0181), number(-0.0001), number(154.32), number(-20514.2)
    ('0.954', '−0.018', '0.000', '154.3', '−20,514')
    """
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return "0.000" if text == "-0.000" else text.replace("-", "−")


def plus_minus(interval: Interval) -> str:
    """A mean and half its interval, as in a table's cell; a mean without interval says so.

    >>> plus_minus(Interval(mean=0.95, low=0.925, high=0.975, n=3))
    '0.950 ± 0.025'
    >>> plus_minus(Interval(mean=0.95, low=None, high=None, n=1))
    '0.950 (n = 1)'
    """
    if interval.half is None:
        return f"{number(interval.mean)} (n = {interval.n})"
    return f"{number(interval.mean)} ± {number(interval.half)}"


def within(interval: Interval) -> str:
    """A mean with the bounds of its interval, as in a tooltip; a mean without interval says so.

    >>> within(Interval(mean=0.95, low=0.925, high=0.975, n=3))
    '0.950 [0.925, 0.975]'
    """
    if interval.low is None or interval.high is None:
        return f"{number(interval.mean)} (n = {interval.n})"
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def listed(parts: Sequence[str], word: str = "and") -> str:
    """The parts in a sentence.

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


def words_of(arm: str) -> Arm:
    """What an arm is called, and what it keeps; a control of the user's own by its path.

    >>> words_of("reinit").label, words_of("mine.py:control").phrase
    ('new weights, same mask', 'the control mine.py:control')
    """
    own = Arm(label=arm, phrase=f"the control {arm}", keeps="a control of the study's own")
    return ARMS.get(arm, own)


def arm_place(arm: str) -> tuple[int, str]:
    """The place of an arm in tables; the user's own come last, by name."""
    return list(ARMS).index(arm) if arm in ARMS else len(ARMS), arm


def label_place(label: str) -> tuple[int, str]:
    """The place of an arm's label in legends, where its source may follow it; likewise."""
    labels = [arm.label for arm in ARMS.values()]
    return next((place for place, known in enumerate(labels) if label.startswith(known)), len(labels)), label
