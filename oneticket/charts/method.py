"""The method in one picture: a ticket is found once, transferred, and compared with its controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from xml.sax.saxutils import escape

from oneticket.lottery.arms import words_of
from oneticket.stats.summary import Row, Summary, summary
from oneticket.stats.words import percent

WIDTH, HEIGHT = 720, 512
SIZE = 19  # of letters: 10 pixels where the picture is 390 pixels wide
Theme = Literal["light", "dark"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Colors:
    ink: str
    faint: str
    line: str
    ticket: str
    control: str
    dense: str
    ground: str


def method_picture(rows: Iterable[Row], *, levels: int, theme: Theme = "light") -> str:
    """An SVG of the method, whose bars are the scores of one target's networks at their sparsest level.

    `rows`: of one target with its dense network, tickets and random tickets, as `oneticket demo` writes them; of
    several targets, the first. `levels`: how often the search pruned. Bars end at the mean; the thin line is its 95 %
    Student t interval. Raises SpecError as `summary` does.

    >>> row = {"model": "mlp", "target_data": "digits:b", "target_optimizer": "sgd", "replicate": 0}
    >>> dense = {**row, "arm": "dense", "level": 0, "density": 1.0, "accuracy": 0.97}
    >>> found = {"source_data": "digits:a", "source_optimizer": "sgd", "level": 20, "density": 0.012, "accuracy": 0.95}
    >>> method_picture([dense, {**row, **found, "arm": "ticket"}], levels=20)[:4]
    '<svg'
    """
    shown = _shown(summary(rows))
    density = percent(next(one.density for one in shown if one.level))
    colors = COLORS[theme]
    label = (
        f"A dense network is trained, its smallest weights are pruned, the rest is rewound, {levels} times. What is "
        f"left, {density} of the weights, is a ticket in a file. It is transferred to other data or optimizers."
    )
    scores = f"{' '.join(_heading(shown))}: " + "; ".join(f"{_name(one)}: {_score(one)}" for one in shown)
    parts = [
        _words(24, 34, "Find it once", colors, weight=600),
        _network(24, 60, colors, kept=1.0),
        _words(85, 228, "all weights", colors, anchor="middle"),
        *_round(levels, colors),
        _network(572, 60, colors, kept=0.12),
        _words(633, 228, f"{density} of them", colors, anchor="middle"),
        _words(24, 290, "Transfer it anywhere", colors, weight=600),
        *_file(colors),
        *_bars(shown, colors),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{label} {scores}", QUOTES)}" font-family="{FONTS}" font-size="{SIZE}">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="{colors.ground}"/>{"".join(parts)}</svg>\n'
    )


def _shown(found: Sequence[Summary]) -> list[Summary]:
    """The dense network and the arms of the sparsest level, in the first place that has a ticket."""
    setting = next((one.setting for one in found if one.line.arm == "ticket"), found[0].setting)
    here = [one for one in found if one.setting == setting]
    last = max(one.level for one in here)
    arms = {one.line.arm: one for one in here if one.level == last or one.line.arm == "dense"}
    return [arms[arm] for arm in ("dense", "ticket", "reinit", "global-random") if arm in arms]


def _round(levels: int, colors: _Colors) -> list[str]:
    """Train, prune, rewind, and the way back."""
    made = [_arrow(156, 130, 182, 130, colors)]
    for number, (word, below) in enumerate((("train", ""), ("prune", "smallest"), ("rewind", "the rest"))):
        x = 188 + 118 * number
        made.append(
            f'<rect x="{x}" y="98" width="96" height="64" rx="10" fill="none" stroke="{colors.line}" stroke-width="2"/>'
        )
        made.append(_words(x + 48, 125 if below else 136, word, colors, anchor="middle"))
        made += [_words(x + 48, 148, below, colors, anchor="middle", size=SIZE, fill=colors.faint)] if below else []
        made.append(_arrow(x + 96, 130, x + 112, 130, colors) if number < 2 else _arrow(x + 96, 130, 566, 130, colors))
    back = "M 472 166 V 186 Q 472 196 462 196 H 246 Q 236 196 236 186 V 172"
    made.append(
        f'<path d="{back}" fill="none" stroke="{colors.line}" stroke-width="2"/>{_head(236, 166, "up", colors)}'
    )
    return [*made, _words(354, 222, f"{levels} times", colors, anchor="middle")]


def _file(colors: _Colors) -> list[str]:
    """The ticket in a file, and where it is used."""
    sheet = "M 44 322 H 104 L 128 346 V 426 H 44 Z M 104 322 V 346 H 128"
    return [
        f'<path d="{sheet}" fill="none" stroke="{colors.ticket}" stroke-width="2.5" stroke-linejoin="round"/>',
        _network(52, 352, colors, kept=0.12, scale=0.55),
        _words(86, 452, "ticket file", colors, anchor="middle"),
        _arrow(138, 356, 168, 338, colors),
        _arrow(138, 414, 168, 432, colors),
        _words(174, 342, "new data", colors),
        _words(174, 450, "another", colors),
        _words(174, 474, "optimizer", colors),
    ]


def _bars(shown: Sequence[Summary], colors: _Colors) -> list[str]:
    left, right, top, step = 508, 630, 306, 44
    best = max(one.score.mean for one in shown)
    said = enumerate(_heading(shown))
    made = [_words(302, 266 + 24 * at, line, colors, size=SIZE, fill=colors.faint) for at, line in said]
    for number, one in enumerate(shown):
        y = top + step * number
        color = {"ticket": colors.ticket, "dense": colors.dense}.get(one.line.arm, colors.control)
        end = left + (right - left) * one.score.mean / best
        made.append(_words(left - 10, y + 24, _name(one), colors, anchor="end"))
        made.append(f'<rect x="{left}" y="{y + 5}" width="{end - left:.1f}" height="26" rx="3" fill="{color}"/>')
        if one.score.low is not None and one.score.high is not None:
            low, high = (left + (right - left) * max(bound, 0.0) / best for bound in (one.score.low, one.score.high))
            made.append(_line(low, y + 18, high, y + 18, colors.ink, 2))
        made.append(_words(right + 14, y + 24, _score(one), colors))
    numbers = sorted({one.score.n for one in shown})
    n = f"n = {' to '.join(map(str, numbers))}; thin lines: 95 % interval"
    return [
        *made,
        _words(right + 72, top + step * len(shown) + 18, n, colors, anchor="end", size=SIZE, fill=colors.faint),
    ]


def _heading(shown: Sequence[Summary]) -> tuple[str, str]:
    """What the bars show, and of which optimizers: with others, scores may differ."""
    setting = shown[0].setting
    found, trained = next((one.line.optimizer for one in shown if one.line.arm == "ticket"), None), setting.optimizer
    how = f"found and trained with {trained}" if found == trained else f"trained with {trained}"
    return f"test {setting.metric.label} on {setting.data},", how if found in (
        None,
        trained,
    ) else f"found with {found}, {how}"


def _name(one: Summary) -> str:
    return SHORT.get(one.line.arm, words_of(one.line.arm).label)


def _score(one: Summary) -> str:
    metric = one.setting.metric
    return metric.score(one.score.mean) if metric.share else metric.written(one.score.mean)


def _network(x: float, y: float, colors: _Colors, *, kept: float, scale: float = 1.0) -> str:
    """Three layers of units; `kept`: the share of the lines between them that are drawn."""
    places = [
        [(x + scale * (10 + 50 * layer), y + scale * (10 + 120 * (unit + 0.5) / units)) for unit in range(units)]
        for layer, units in enumerate((5, 6, 3))
    ]
    pairs = [(one, other) for left, right in pairwise(places) for one in left for other in right]
    lines = [_line(*one, *other, colors.faint, 1.2 * scale) for one, other in pairs if kept == 1]
    if kept < 1:
        lines = [_line(*one, *other, colors.ticket, 2.6 * scale) for one, other in pairs[3 :: round(1 / kept)]]
    units = [
        f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{5.5 * scale:.1f}" fill="{colors.ink}"/>'
        for layer in places
        for cx, cy in layer
    ]
    return "".join([*lines, *units])


def _words(
    x: float,
    y: float,
    text: str,
    colors: _Colors,
    *,
    anchor: str = "start",
    size: int = SIZE,
    weight: int = 400,
    fill: str | None = None,
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill or colors.ink}">{escape(text)}</text>'
    )


def _line(x: float, y: float, x2: float, y2: float, color: str, width: float) -> str:
    return f'<path d="M {x:.1f} {y:.1f} L {x2:.1f} {y2:.1f}" stroke="{color}" stroke-width="{width:.1f}"/>'


def _arrow(x: float, y: float, x2: float, y2: float, colors: _Colors) -> str:
    way = "right" if y == y2 else "down" if y2 > y else "rise"
    return _line(x, y, x2 - 4, y2, colors.line, 2) + _head(x2, y2, way, colors)


def _head(x: float, y: float, way: str, colors: _Colors) -> str:
    turn = {"right": 0, "up": -90, "down": 29, "rise": -29}[way]
    place = f"translate({x:.0f} {y:.0f}) rotate({turn})"
    return f'<path d="M 0 0 L -11 -6 L -11 6 Z" fill="{colors.line}" transform="{place}"/>'


FONTS = "Liberation Sans, Arial, Helvetica, sans-serif"
QUOTES: Mapping[str, str] = {'"': "&quot;"}
SHORT = {"reinit": "same mask, new weights", "global-random": "random ticket", "dense": "dense network"}
COLORS: Mapping[Theme, _Colors] = {
    "light": _Colors(
        ink="#222222",
        faint="#6b6b6b",
        line="#8a8a8a",
        ticket="#0072B2",
        control="#c3c3c3",
        dense="#7a7a7a",
        ground="#ffffff",
    ),
    "dark": _Colors(
        ink="#ececec",
        faint="#a8a8a8",
        line="#8a8a8a",
        ticket="#56B4E9",
        control="#5c5c5c",
        dense="#999999",
        ground="#15181c",
    ),
}
