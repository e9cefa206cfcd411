"""An interval as a small bar with zero marked: an inline picture that takes its width and colours from the page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from oneticket.stats.stats import Interval

HEIGHT = 30  # pixels: 18 for the bar, the rest for the label of zero
EDGE = 4.0  # percent of the width that stays free at either side


def interval_bar(
    interval: Interval, *, label: str, margin: float | None = None, beside: Iterable[Interval] = ()
) -> str:
    """An SVG element: the mean as a dot, its interval as a line, zero as a vertical line and ±margin as a band.

    `label` describes the bar in words, for screen readers. `beside` are the intervals of other bars on the same scale.
    Lengths are in percent of the width, so the bar stretches with the page and its text does not.

    >>> interval_bar(Interval(mean=0.2, low=0.0, high=0.4, n=3), label="mine").startswith('<svg class="bar" role="img"')
    True
    """
    ends, others = _ends(interval), [end for one in beside for end in _ends(one)]
    reach = [0.0, *ends, *others]
    banded = margin is not None and margin < 2 * max(map(abs, reach))
    shown = [*reach, *([-margin, margin] if margin is not None and banded else [])]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return EDGE + (100 - 2 * EDGE) * (value - low) / span

    parts = [_line("axis", EDGE / 2, 100 - EDGE / 2, 9)]
    if margin is not None and banded:
        x, width = at(-margin), at(margin) - at(-margin)
        parts.append(f'<rect class="margin" x="{x:.2f}%" y="2" width="{width:.2f}%" height="14"/>')
    zero = at(0.0)
    parts.append(f'<line class="zero" x1="{zero:.2f}%" x2="{zero:.2f}%" y1="0" y2="18"/>')
    if interval.low is not None:
        parts.append(_line("interval", at(ends[0]), at(ends[1]), 9))
    parts.append(f'<circle class="mean" cx="{at(interval.mean):.2f}%" cy="9" r="4.5"/>')
    parts.append(f'<text x="{zero:.2f}%" y="29" text-anchor="middle">0</text>')
    return f'<svg class="bar" role="img" aria-label="{escape(label)}" height="{HEIGHT}">{"".join(parts)}</svg>'


def _ends(interval: Interval) -> list[float]:
    return [interval.mean if end is None else end for end in (interval.low, interval.high)]


def _line(kind: str, start: float, end: float, y: int) -> str:
    return f'<line class="{kind}" x1="{start:.2f}%" x2="{end:.2f}%" y1="{y}" y2="{y}"/>'
