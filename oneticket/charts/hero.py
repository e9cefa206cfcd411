"""The hero: per target, what tickets, their controls and the dense network score at one density, each by its name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import altair as alt

from oneticket.charts import theme
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import Metric
from oneticket.ground.metric import named as named_metrics
from oneticket.lottery.arms import words_of
from oneticket.stats.regroup import parts, settled
from oneticket.stats.summary import Row, Summary, places, summary
from oneticket.stats.words import counts, percent, plus_minus, within

WIDTH, SIDE, FIRST = 210, 17, 6  # pixels of a plot, letters of a line beside it, panels that are shown unasked
NUMBERS = 0.75  # room for the numbers at the right, beside that of the points
KINDS = ("dense", "ticket", "reinit", "random")
LOOKS = (theme.BLACK, *theme.PALETTE[:3])
RANDOM = ("global-random", "layerwise-random")


def hero_chart(rows: Sequence[Row], stated: Iterable[int] = ()) -> Chart | None:
    """Scores at one level, a panel per target; None where no ticket was trained.

    The level is the sparsest of the `stated` ones that a target has, else its sparsest one. Rows of a panel are the
    dense network, every ticket, its mask with new weights, and a random ticket; each has its name at its left and its
    number at its right. Panels of one set and metric have one scale. Points are means, bars 95 % Student t intervals,
    the dashed line the dense network. Raises SpecError as `summary` does.
    """
    stated, split = set(stated), parts(settled(rows))
    models = len({row["model"] for row in rows}) > 1
    blocks: list[tuple[str, list[Summary]]] = []
    for part, taken in split.items():
        found = summary(taken)
        for setting, place in places(found).items():
            shown = _shown([one for one in found if one.setting == setting], stated)
            title = ", ".join([setting.model] * models + [f"{part}: {place}" if len(split) > 1 else place])
            blocks += [(title, shown)] if shown else []
    if not blocks:
        return None
    called = theme.short(one.line.source for _, shown in blocks for one in shown if one.line.source)
    alike: dict[tuple[str, Metric], list[Record]] = {}
    each = [_records(shown, called) for _, shown in blocks]
    for (_, shown), records in zip(blocks, each, strict=True):
        alike.setdefault(_kind(shown), []).extend(records)
    drawn = [
        _draw(title, shown, records, theme.reach(alike[_kind(shown)]))
        for (title, shown), records in zip(blocks, each, strict=True)
    ]
    subtitle = [
        f"Points: mean test {named_metrics(rows)}; bars: 95 % Student t intervals, "
        f"{counts([one.score.n for _, shown in blocks for one in shown])}. Dashed: the dense network.",
    ]
    return sheet(drawn, title="Tickets beside their controls", subtitle=subtitle, first=min(FIRST, len(drawn)))


def _shown(block: Sequence[Summary], stated: set[int]) -> list[Summary]:
    """The dense network, and at one level the tickets, their masks with new weights, and a random ticket."""
    levels = {one.level for one in block if one.line.arm == "ticket" and one.level}
    if not levels:
        return []
    level = max(levels & stated or levels)
    here = [one for one in block if one.level == level or one.line.arm == "dense"]
    arms = {one.line.arm for one in here}
    random = next((arm for arm in RANDOM if arm in arms), "")
    return [one for one in here if one.line.arm in ("dense", "ticket", "reinit", random)]


def _kind(shown: Sequence[Summary]) -> tuple[str, Metric]:
    """What panels of one scale have in common."""
    return shown[0].setting.data, shown[0].setting.metric


def _records(shown: Sequence[Summary], called: Mapping[str, str]) -> list[Record]:
    several = len({one.line.source for one in shown if one.line.arm == "reinit"}) > 1
    return [_record(one, called, several=several) for one in shown]


def _draw(title: str, shown: Sequence[Summary], records: list[Record], ends: tuple[float, float]) -> alt.LayerChart:
    metric, names = shown[0].setting.metric, [record["line"] for record in records]
    low, high = ends
    if low == high:
        low, high = (metric.clipped(low + part * (abs(low) or 1.0)) for part in (-0.05, 0.05))
    ticks = _ticks(low, high)
    low, high = ticks[0], ticks[-1]
    reach = alt.Scale(domain=[low - 0.06 * (high - low), high + NUMBERS * (high - low)], nice=False, zero=False)
    y = alt.Y("line:N", sort=names, title=None, axis=theme.names_axis(names, SIDE, grid=False))
    title_x = f"test {metric.heading}"
    axis = theme.metric_axis(metric, title_x, (low, high), values=ticks, titleAnchor="start", grid=True)
    x, begin = (alt.X(f"{end}:Q", title=title_x, scale=reach, axis=axis) for end in ("mean", "low"))
    color = alt.Color("kind:N", scale=alt.Scale(domain=KINDS, range=LOOKS), legend=None)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=KINDS, range=theme.SHAPES[:4]), legend=None)
    tips = {"line": "arm", "kept": "weights kept", "score": f"{metric.heading} [95 %]", "n": "n"}
    dense = alt.Chart().transform_filter("datum.kind === 'dense'")
    base = alt.Chart().encode(y=y)
    bars = base.transform_filter("isValid(datum.low)")
    layers = [
        dense.mark_rule(strokeDash=[6, 4], strokeWidth=1.5, color=theme.BLACK, aria=False).encode(x=x),
        bars.mark_rule(strokeWidth=2, aria=False).encode(x=begin, x2="high:Q", color=color),
        theme.with_tooltip(base, tips, "point", filled=True, size=60, opacity=1).encode(x=x, color=color, shape=shape),
        base.mark_text(align="right", fontSize=12, color=theme.INK, aria=False).encode(
            x=alt.XDatum(reach["domain"][1], scale=reach), text="said:N"
        ),
    ]
    kept = next(one.density for one in shown if one.level)
    height = len(names) * (16 * max(len(theme.folded(name, SIDE)) for name in names) + 14)
    return layered(layers, records, Heading(title, [f"{percent(kept)} of the weights"]), width=WIDTH, height=height)


def _record(one: Summary, called: Mapping[str, str], *, several: bool) -> Record:
    arm, low, high, cut = one.line.arm, one.score.low, one.score.high, one.setting.metric.clipped
    label = words_of("own" if one.is_own_ticket else arm).label
    sourced = one.line.source and arm != "dense" and not one.is_own_ticket and (several or arm == "ticket")
    return {
        "line": f"{label} from {called[one.line.source]}" if sourced else label,
        "kind": "random" if arm in RANDOM else arm,
        "mean": one.score.mean,
        "low": None if low is None else cut(low),
        "high": None if high is None else cut(high),
        "n": one.score.n,
        "said": plus_minus(one.score, one.setting.metric),
        "score": within(one.score, one.setting.metric),
        "kept": percent(one.density),
    }


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers from below the one to above the other.

    >>> _ticks(0.55, 0.98), _ticks(0.72, 0.98)
    ([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [0.7, 0.8, 0.9, 1.0])
    """
    power = 10.0 ** math.floor(math.log10(high - low))
    made: list[list[float]] = []
    for step in (power * part for part in (0.1, 0.2, 0.5, 1.0, 2.0)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        made.append([round(step * number, 12) for number in range(first, last + 1)])
    enough = [ticks for ticks in made if len(ticks) >= 4]
    return next((ticks for ticks in enough if len(ticks) <= 6), enough[-1])
