"""The crossing: at which size of a target its own ticket overtakes tickets from other sources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.gaps import missing_in_all
from oneticket.charts.lines import Group, groups, looks
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import Metric, named
from oneticket.stats.regroup import parts
from oneticket.stats.summary import Line, Row, Setting, Summary, over, summary
from oneticket.stats.words import counts, percent, within

SHOWN = ("dense", "ticket", "own", "mask-only", "weights-only", "dense-rewound", "reinit")
Sized = Mapping[int, list[Summary]]


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One network at one level: its results at each size of the target."""

    title: str
    sizes: Sized


def crossing_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """Scores, and gains over the target's own ticket, over the number of the target's training examples.

    Two panels for each network and level, or more of many lines: one with the score of every arm, one with by how much
    each ticket is better than the target's own, paired by replicate. Where that falls below 0, the target has enough
    examples to search for itself. None where no set was cut to two sizes or more. Means with 95 % Student t intervals.
    Raises SpecError as `summary` does.
    """
    panels = _panels(rows)
    if not panels:
        return None
    every = [one for panel in panels for found in panel.sizes.values() for one in found]
    drawn: list[theme.Panel] = []
    for panel in panels:
        metric = next(iter(panel.sizes.values()))[0].setting.metric
        for group in groups(_line(one) for found in panel.sizes.values() for one in found):
            title = f"{panel.title}, {group.title}" if group.title else panel.title
            found = {size: [one for one in found if _line(one) in group.called] for size, found in panel.sizes.items()}
            scores = [_score(one, size, group) for size, each in found.items() for one in each]
            gains = [
                record
                for size, each in found.items()
                for record in _gains(each, _own(panel.sizes[size], each[0].setting) if each else None, size, group)
            ]
            drawn.append(_draw(scores, f"{title}: {metric.label}", metric, group, zero=False))
            if gains:
                drawn.append(_draw(gains, f"{title}: gain over the target's own ticket", metric, group, zero=True))
    subtitle = [
        f"Points: means; bars: 95 % Student t intervals, {counts([one.score.n for one in every])}.",
        "Gains are paired by replicate; above 0 the ticket from elsewhere is better than the target's own.",
        missing_in_all(missing, rows),
    ]
    name = named(rows)
    return sheet(drawn, title=f"{name[:1].upper()}{name[1:]} over the size of the target", subtitle=subtitle, across=2)


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
                title = f"{part}: {model}" if len(split) > 1 and part != model else model
                title += f" at equal {equal}," * bool(equal) + f" at {percent(density)}"
                made.append(_Panel(title=title, sizes=dict(sorted(sizes.items()))))
    return made


def _set(rows: Sequence[Row], setting: Setting) -> object:
    """The set that a setting's data were cut from, and how many of its classes."""
    found = (row for row in rows if row["target_data"] == setting.data)
    return next((row.get("target_name"), row.get("target_classes")) for row in found)


def _both(sizes: Sized) -> bool:
    """Whether the target's own ticket is compared with a ticket from another source anywhere."""
    return any(_own(found, one.setting) for found in sizes.values() for one in found if _transferred(one))


def _own(found: Sequence[Summary], setting: Setting) -> Summary | None:
    return next((one for one in found if one.is_own_ticket and one.setting == setting), None)


def _transferred(one: Summary) -> bool:
    return one.line.arm == "ticket" and not one.is_own_ticket


def _line(one: Summary) -> Line:
    """The target's own tickets are one line, though each size has another."""
    return Line(arm="own") if one.is_own_ticket else one.line


def _score(one: Summary, size: int, group: Group) -> Record:
    cut = one.setting.metric.clipped
    low, high = one.score.low, one.score.high
    return {
        "size": size,
        "line": group.called[_line(one)],
        "mean": one.score.mean,
        "low": None if low is None else cut(low),
        "high": None if high is None else cut(high),
        "said": within(one.score, one.setting.metric),
        "n": one.score.n,
    }


def _gains(found: Sequence[Summary], own: Summary | None, size: int, group: Group) -> list[Record]:
    made = []
    for one in found:
        compared = None if own is None or one is own else over(one, own)
        if compared is not None:
            gain = compared.difference
            gained = {"mean": gain.mean, "low": gain.low, "high": gain.high, "n": gain.n}
            said = within(gain, one.setting.metric, signed=True)
            made.append({"size": size, "line": group.called[_line(one)], "said": said, **gained})
    return made


def _draw(records: list[Record], title: str, metric: Metric, group: Group, *, zero: bool) -> alt.LayerChart:
    sizes = sorted({record["size"] for record in records})
    ends = [math.log(sizes[0]), math.log(sizes[-1])]
    room = 0.06 * (ends[1] - ends[0])
    domain = [math.exp(ends[0] - room), math.exp(ends[1] + room)]
    x = alt.X(
        "size:Q",
        title="training examples of the target (logarithmic)",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(values=sizes, grid=False, format=",d", labelOverlap="greedy", labelSeparation=8),
    )
    said = f"gain over the target's own ({metric.units})" if zero else f"test {metric.heading}"
    axis = theme.metric_axis(metric, said, theme.reach(records), signed=zero, tickCount=5)
    y, low = (alt.Y(f"{end}:Q", title=said, scale=alt.Scale(zero=False), axis=axis) for end in ("mean", "low"))
    tooltip = {"line": "arm", "size": "training examples", "said": f"{said} [95 %]", "n": "n"}
    lines = {record["line"] for record in records}
    names = list(group.called.values())
    color, shape, dash = looks(names, places=group.places, drawn=[name for name in names if name in lines])
    base = alt.Chart().encode(x=x, color=color)
    layers = [
        base.transform_filter("isValid(datum.low)").mark_rule(opacity=0.5, aria=False).encode(y=low, y2="high:Q"),
        base.mark_line(strokeWidth=1.8, aria=False).encode(y=y, strokeDash=dash),
        theme.with_tooltip(base, tooltip, "point", filled=True, size=46, opacity=1).encode(y=y, shape=shape),
    ]
    if zero:
        nought = alt.Chart(alt.InlineData(values=[{"mean": 0}]))
        layers.insert(0, nought.mark_rule(color=theme.GREY, aria=False).encode(y=y))
    return layered(layers, records, Heading(title), width=theme.WIDTH, height=theme.HEIGHT)
