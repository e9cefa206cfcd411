"""The crossing: at which size of a target its own ticket overtakes the ones that come from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.gaps import missing_in_all
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import Metric, named
from oneticket.stats.regroup import parts
from oneticket.stats.summary import Line, Row, Setting, Summary, labels, over, rank, summary
from oneticket.stats.words import counts, percent, within

WIDTH, HEIGHT = 450, 230
SHOWN = ("dense", "ticket", "own", "mask-only", "weights-only", "dense-rewound", "reinit")
Sized = Mapping[int, list[Summary]]


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One network at one level: what was seen at each size of the target."""

    title: str
    sizes: Sized


def crossing_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """Scores, and gains over the target's own ticket, over the number of the target's training examples.

    A line of two panels for each network and level: on the left the score of every arm, on the right by how much each
    ticket is better than the target's own, paired by replicate. Where that falls below 0, the target has enough
    examples to search for itself. None where no set was cut to two sizes or more. Means with 95 % Student t intervals.
    Raises SpecError as `summary` does.
    """
    panels = _panels(rows)
    if not panels:
        return None
    every = [one for panel in panels for found in panel.sizes.values() for one in found]
    called = labels(every)
    lines = sorted({one.line for one in every}, key=rank)
    color = alt.Color(
        "line:N",
        scale=theme.marks([called[line] for line in lines]),
        legend=theme.legend([called[line] for line in lines], 2 * WIDTH),
    )
    shape = alt.Shape(
        "line:N", scale=theme.marks([called[line] for line in lines], theme.SHAPES), legend=color["legend"]
    )
    drawn: list[theme.Panel] = []
    for panel in panels:
        metric = next(iter(panel.sizes.values()))[0].setting.metric
        scores = [_score(one, size, called) for size, found in panel.sizes.items() for one in found]
        gains = [record for size, found in panel.sizes.items() for record in _gains(found, size, called)]
        drawn.append(_draw(scores, f"{panel.title}: {metric.label}", metric, color, shape, zero=False))
        drawn.append(_draw(gains, f"{panel.title}: gain over the target's own ticket", metric, color, shape, zero=True))
    subtitle = [
        f"Points: means; bars: 95 % Student t intervals, {counts([one.score.n for one in every])}.",
        "Right: paired by replicate; above 0 the ticket from elsewhere is better than the target's own.",
        missing_in_all(missing, rows),
    ]
    name = named(rows)
    return theme.sheet(drawn, title=f"{name[:1].upper()}{name[1:]} over the size of the target", subtitle=subtitle)


def _panels(rows: Sequence[Row]) -> list[_Panel]:
    made = []
    split = parts(row for row in rows if row["arm"] in SHOWN and row.get("target_images"))
    for part, taken in split.items():
        size = {row["target_data"]: row["target_images"] for row in taken}
        found = summary(taken)
        groups: dict[tuple[Any, ...], dict[int, list[Summary]]] = {}
        for one in found:
            if one.level or one.line.arm in ("dense", "dense-rewound"):
                for level in [one.level] if one.level else sorted({other.level for other in found if other.level}):
                    here = one.setting
                    at = (here.model, here.equal, level, here.optimizer, here.head, _set(taken, here))
                    groups.setdefault(at, {}).setdefault(size[here.data], []).append(one)
        for (model, equal, level, *_), sizes in groups.items():
            if len(sizes) > 1 and _both(sizes):
                density = next(one.density for found in sizes.values() for one in found if one.level == level)
                title = f"{part}: {model}" if len(split) > 1 else model
                title += f" at equal {equal}," * bool(equal) + f" at {percent(density)}"
                made.append(_Panel(title=title, sizes=dict(sorted(sizes.items()))))
    return made


def _set(rows: Sequence[Row], setting: Setting) -> object:
    """The set that a setting's data were cut from, and how many of its classes."""
    found = (row for row in rows if row["target_data"] == setting.data)
    return next((row.get("target_name"), row.get("target_classes")) for row in found)


def _both(sizes: Sized) -> bool:
    """Whether there is a ticket from elsewhere beside the target's own anywhere."""
    return any(_own(found, one.setting) for found in sizes.values() for one in found if _carried(one))


def _own(found: Sequence[Summary], setting: Setting) -> Summary | None:
    return next((one for one in found if one.at_home and one.setting == setting), None)


def _carried(one: Summary) -> bool:
    return one.line.arm == "ticket" and not one.at_home


def _score(one: Summary, size: int, called: Mapping[Line, str]) -> Record:
    cut = one.setting.metric.clipped
    low, high = one.score.low, one.score.high
    return {
        "size": size,
        "line": called[one.line],
        "mean": one.score.mean,
        "low": None if low is None else cut(low),
        "high": None if high is None else cut(high),
        "said": within(one.score),
        "n": one.score.n,
    }


def _gains(found: Sequence[Summary], size: int, called: Mapping[Line, str]) -> list[Record]:
    made = []
    for one in found:
        own = _own(found, one.setting)
        compared = None if own is None or one is own else over(one, own)
        if compared is not None and own is not None:
            gain = compared.difference
            told = {"mean": gain.mean, "low": gain.low, "high": gain.high, "said": within(gain), "n": gain.n}
            made.append({"size": size, "line": called[one.line], **told})
    return made


def _draw(
    records: list[Record], title: str, metric: Metric, color: alt.Color, shape: alt.Shape, *, zero: bool
) -> alt.LayerChart:
    sizes = sorted({record["size"] for record in records})
    ends = [math.log(sizes[0]), math.log(sizes[-1])] if sizes else [0.0, 1.0]
    room = 0.06 * (ends[1] - ends[0])
    domain = [math.exp(ends[0] - room), math.exp(ends[1] + room)]
    x = alt.X(
        "size:Q",
        title="training examples of the target (logarithmic)",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(values=sizes, grid=False, format=",d", labelOverlap="greedy"),
    )
    axis = "better than the target's own by" if zero else f"test {metric.label}"
    y, low = (alt.Y(f"{end}:Q", title=axis, scale=alt.Scale(zero=False)) for end in ("mean", "low"))
    tips = [alt.Tooltip(f"{name}:N", title=told) for name, told in TOLD.items()]
    base = alt.Chart().encode(x=x, color=color)
    layers = [
        base.transform_filter("isValid(datum.low)").mark_rule(opacity=0.5).encode(y=low, y2="high:Q"),
        base.mark_line(strokeWidth=1.8).encode(y=y),
        base.mark_point(filled=True, size=46, opacity=1).encode(y=y, shape=shape, tooltip=tips),
    ]
    if zero:
        layers.insert(0, alt.Chart(alt.InlineData(values=[{"mean": 0}])).mark_rule(color=theme.GREY).encode(y=y))
    return theme.layered(layers, records, theme.named(title, WIDTH), width=WIDTH, height=HEIGHT)


TOLD = {"line": "arm", "said": "mean [95 %]", "n": "n", "size": "training examples"}
