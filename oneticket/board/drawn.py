"""Small pictures drawn on the server as SVG: a bar of progress, a curve, the density of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from oneticket.board.elements import Html, tag

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 240, 100, 18, 34
"""Of a curve, with room for the words at its axes, in the units of its view box."""


def progress(counts: Mapping[str, int], *, of: str = "steps") -> Html:
    """A bar of as many colours as there are kinds, and the same in words for those who do not see it.

    >>> progress({"done": 1, "failed": 0, "to do": 3})[:60]
    '<svg class="meter" viewBox="0 0 100 1" preserveAspectRatio="'
    """
    total, at, parts = sum(counts.values()) or 1, 0.0, []
    for name, count in counts.items():
        width = 100 * count / total
        if count:
            parts.append(tag("rect", x=f"{at:.3f}", y=0, width=f"{width:.3f}", height=1, class_=name.replace(" ", "-")))
        at += width
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or f"no {of}"
    return tag(
        "svg", *parts, class_="meter", viewBox="0 0 100 1", preserveAspectRatio="none", role="img", aria_label=said
    )


def share(value: float, words: str, *, kind: str = "done") -> Html:
    """One bar from 0 to 1, in the colour of that kind."""
    part = tag("rect", x=0, y=0, width=f"{100 * min(max(value, 0), 1):.3f}", height=1, class_=kind)
    return tag(
        "svg", part, class_="meter", viewBox="0 0 100 1", preserveAspectRatio="none", role="img", aria_label=words
    )


def curve(points: Sequence[tuple[int, float]], *, start: int, total: int) -> Html:
    """Losses over the steps of a schedule, on a logarithmic axis where all are above 0; nothing for no points."""
    if not points:
        return Html("")
    values = [value for _, value in points]
    log = min(values) > 0 and max(values) / min(values) > LOG
    scaled = [math.log10(value) if log else value for value in values]
    low, high = min(scaled), max(scaled)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)

    def across(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 12) * (step - start) / max(total - start, 1)

    def down(value: float) -> float:
        return TOP + (HEIGHT - BOTTOM - TOP) * (high - value) / (high - low)

    lines, words = [], []
    for part in range(5):
        value = low + (high - low) * part / 4
        said = f"{10**value if log else value:.2g}"
        lines.append(tag("line", x1=LEFT, x2=WIDTH - 12, y1=f"{down(value):.1f}", y2=f"{down(value):.1f}"))
        words.append(tag("text", said, x=LEFT - 6, y=f"{down(value) + 4:.1f}", text_anchor="end"))
    for far, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        step = round(start + (total - start) * far)
        words.append(tag("text", f"{step:,}", x=f"{across(step):.1f}", y=HEIGHT - 8, text_anchor=anchor))
    path = " ".join(f"{across(at):.1f},{down(value):.1f}" for (at, _), value in zip(points, scaled, strict=True))
    last = tag("circle", cx=f"{across(points[-1][0]):.1f}", cy=f"{down(scaled[-1]):.1f}", r=4)
    said = f"Training loss over {total:,} steps: {values[0]:.3g} at first, {values[-1]:.3g} at step {points[-1][0]:,}"
    return tag(
        "svg",
        tag("g", *lines, class_="grid"),
        *words,
        tag("polyline", points=path),
        last,
        class_="curve",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=said,
    )


LOG = 20
"""From this ratio of the largest to the smallest loss on, the axis is logarithmic."""
