"""Scores over density: one panel per target, one line per source and arm, and the dense network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import altair as alt

from oneticket.charts import theme
from oneticket.charts.gaps import gaps, missing_in_all
from oneticket.charts.lines import Group, groups, looks
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import Metric
from oneticket.ground.metric import named as named_metrics
from oneticket.lottery.arms import WHOLE
from oneticket.stats.regroup import parts, settled
from oneticket.stats.summary import Line, Row, Setting, Summary, natural_zeros, places, setting_of, summary
from oneticket.stats.words import counts, percent, within

FEW = 4  # lines that may have shaded bands before those hide each other
NATURAL = 0.001


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A group of lines in one setting; `summaries`: theirs, and the dense network's."""

    title: str
    setting: Setting
    group: Group
    summaries: list[Summary]
    zeros: float | None
    below: list[str]


def scores_chart(rows: Iterable[Row], title: str = "", missing: Sequence[Row] = ()) -> Chart:
    """Scores over density, in the rows' metric: per setting one panel, or several where there are more than six lines.

    A dashed rule is the dense network; a rule in colour is the rewound dense network, which is no point on an axis of
    pruned networks. Each line of a panel has its own colour, shape and dash. Where there are several sources, the first
    panel of a setting has every ticket, and further ones have what belongs to each source. Points are means, bars and
    bands 95 % Student t intervals, cut at the metric's bounds. Density falls to the right, on a logarithmic axis;
    points of one density stand side by side. Shaded: densities at which the dense network's own zeros would do.
    Raises SpecError as `summary` does. Colours: Okabe and Ito, 2008; natural sparsity: Caron et al., 2020.

    >>> row = {"model": "lenet-300-100", "target_data": "digits:b", "target_optimizer": "sgd", "level": 0}
    >>> chart = scores_chart([{**row, "arm": "dense", "density": 1, "replicate": r, "accuracy": 0.9} for r in (0, 1)])
    >>> chart.to_dict()["title"]["text"]
    'Accuracy as weights are pruned'
    >>> " ".join(chart.to_dict()["title"]["subtitle"])[:45]
    'lenet-300-100 on digits:b, n = 2 replicates. '
    """
    rows = settled(rows)
    every = summary(rows)
    panels = _panels(rows, missing)
    shown = [_records(panel) for panel in panels]
    pruned = [record for records in shown for record in records]
    x = theme.density_axis(_reach(panels, pruned), "at", {one.density for one in every if one.line.arm not in WHOLE})
    drawn = []
    for number, (panel, records) in enumerate(zip(panels, shown, strict=True)):
        alike = [
            record
            for other, others in zip(panels, shown, strict=True)
            for record in others
            if _alike(other.setting) == _alike(panel.setting)
        ]
        drawn.append(_draw(panel, records, x=x, y=_scale(alike), number=number))
    subtitle = [*_subtitle(every), _natural(panels), missing_in_all(missing, rows)]
    views = [f"panel_{number}" for number in range(len(drawn))]
    params = [*theme.zooms(views), *theme.picks(["line"], views)]
    name = named_metrics(rows)
    title = title or f"{name[:1].upper()}{name[1:]} as weights are pruned"
    first = sum(not panel.group.detail for panel in panels)
    return sheet(drawn, title=title, subtitle=subtitle, params=params, first=first)


def _panels(rows: Sequence[Row], missing: Sequence[Row]) -> list[_Panel]:
    made, split = [], parts(rows)
    models = len({row["model"] for row in rows}) > 1
    for part, taken in split.items():
        summaries, zeros = summary(taken), natural_zeros(taken)
        for setting, place in places(summaries).items():
            lacking = [row for row in missing if _in(row, part, setting)]
            title = f"{part}: {place}" if len(split) > 1 else place
            here = [one for one in summaries if one.setting == setting]
            target = Line(arm="own", data=setting.data, optimizer=setting.optimizer)
            lines = [one.line for one in here if one.line.arm != "dense"]
            for number, group in enumerate(groups(lines, target)):
                panel = _Panel(
                    title=", ".join([setting.model] * models + [title] + [group.title] * bool(group.title)),
                    setting=setting,
                    group=group,
                    summaries=[one for one in here if one.line.arm == "dense" or one.line in group.called],
                    zeros=zeros.get(setting),
                    below=[] if number else gaps(lacking),
                )
                made.append(panel)
    return sorted(made, key=lambda panel: panel.group.detail)


def _in(row: Row, part: str, setting: Setting) -> bool:
    there = replace(setting_of(row), head=setting.head)
    return there == replace(setting, part=None) and (row.get("part") or "") == part


def _records(panel: _Panel) -> list[Record]:
    lines, metric = list(panel.group.called), panel.setting.metric
    densities = {one.density for one in panel.summaries if one.line.arm not in WHOLE}
    made = []
    for one in panel.summaries:
        dense = one.line.arm == "dense"
        whole = one.line.arm in WHOLE
        aside = 1.0 if whole else theme.beside(densities, lines.index(one.line), len(lines))
        low, high = one.score.low, one.score.high
        weights = "" if one.remaining is None else f" ({one.remaining:,.0f} weights)"
        made.append(
            {
                "at": one.density * aside,
                "density": one.density,
                "dense": dense,
                "whole": whole,
                "line": "dense" if dense else panel.group.called[one.line],
                "mean": one.score.mean,
                "low": None if low is None else metric.clipped(low),
                "high": None if high is None else metric.clipped(high),
                "n": one.score.n,
                "score": within(one.score, metric),
                "kept": percent(one.density) + weights,
                "over": "—" if one.over_dense is None else within(one.over_dense.difference, metric, signed=True),
            }
        )
    return made


def _reach(panels: list[_Panel], records: list[Record]) -> list[float]:
    """The densities that the axis shows: the pruned ones, and where natural zeros begin, unless that is far off."""
    pruned = [record["at"] for record in records if not record["whole"]] or [1.0]
    begins = [1 - panel.zeros for panel in panels if panel.zeros is not None and panel.zeros > NATURAL]
    return [*pruned, *(min(1.0, 1.15 * density) for density in begins if max(pruned) / 3 < density < 3 * max(pruned))]


def _draw(panel: _Panel, records: list[Record], *, x: alt.X, y: alt.Scale, number: int) -> alt.LayerChart:
    metric = panel.setting.metric
    title = f"test {metric.heading}" if metric.larger else f"test {metric.heading}, lower is better"
    axis = theme.metric_axis(metric, title, y["domain"], tickCount=5)
    mean, low = (alt.Y(f"{end}:Q", title=title, scale=y, axis=axis) for end in ("mean", "low"))
    tooltip = {"line": "arm", "kept": "weights kept", "score": f"{metric.heading} [95 %]", "n": "n"}
    tooltip["over"] = f"{metric.units} {metric.above} dense [95 %]"
    names = list(panel.group.called.values())
    levels = [called for line, called in panel.group.called.items() if line.arm in WHOLE]
    color, shape, dash = looks(names, places=panel.group.places, levels=levels)
    rule = alt.Chart().transform_filter("datum.dense")
    line = theme.picked(alt.Chart().transform_filter("!datum.whole"), ["line"]).encode(x=x, color=color)
    level = theme.picked(alt.Chart().transform_filter("datum.whole && !datum.dense"), ["line"]).encode(color=color)
    bounds, band = (part.transform_filter("isValid(datum.low)").encode(y=low, y2="high:Q") for part in (rule, line))
    layers = [
        *_shade(panel, x),
        bounds.mark_rect(opacity=0.10, color=theme.BLACK, aria=False),
        theme.with_tooltip(rule, tooltip, "rule", strokeDash=[6, 4], strokeWidth=1.5, color=theme.BLACK).encode(y=mean),
        *([_level(level, tooltip, mean, dash)] if any(one["whole"] and not one["dense"] for one in records) else []),
        *([band.mark_area(opacity=0.14, clip=True, aria=False)] if len(names) <= FEW else []),
        band.mark_rule(opacity=0.6, clip=True, aria=False),
        line.mark_line(strokeWidth=1.8, clip=True, aria=False).encode(y=mean, strokeDash=dash),
        theme.with_tooltip(line, tooltip, "point", filled=True, size=46, opacity=1, clip=True)
        .encode(y=mean, shape=shape)
        .properties(name=f"panel_{number}"),
    ]
    return layered(layers, records, Heading(panel.title, panel.below), width=theme.WIDTH, height=theme.HEIGHT)


def _level(rule: alt.Chart, tooltip: dict[str, str], mean: alt.Y, dash: alt.StrokeDash) -> alt.LayerChart:
    """A network that was never pruned, as a level line: its density is off an axis of pruned ones."""
    band = rule.transform_filter("isValid(datum.low)").mark_rect(opacity=0.08, aria=False)
    drawn = theme.with_tooltip(rule, tooltip, "rule", strokeWidth=1.8).encode(y=mean, strokeDash=dash)
    low = alt.Y("low:Q", title=mean["title"], scale=mean["scale"], axis=mean["axis"])
    both: alt.LayerChart = band.encode(y=low, y2="high:Q") + drawn
    return both


def _shade(panel: _Panel, x: alt.X) -> list[alt.Chart]:
    most, least = x["scale"]["domain"]
    if panel.zeros is None or panel.zeros <= NATURAL or 1 - panel.zeros >= most:
        return []
    values = [{"from": most, "to": max(1 - panel.zeros, least), "zeros": f"{percent(panel.zeros)} of the weights"}]
    scaled = alt.X("from:Q", scale=x["scale"], axis=x["axis"], title=x["title"])
    return [
        alt.Chart(alt.InlineData(values=values))
        .mark_rect(color=theme.SHADE, opacity=0.14, clip=True, aria=False)
        .encode(x=scaled, x2="to:Q", tooltip=[alt.Tooltip("zeros:N", title="zero in the dense network by itself")])
    ]


def _scale(records: list[Record]) -> alt.Scale:
    """Round bounds around every point and band, a twentieth to a fifth of a power of ten apart."""
    low, high = theme.reach(records)
    # For accuracies: fifths for falls, twentieths for small differences.
    unit = 10.0 ** max(0, math.ceil(math.log10((high - low) or 1.0)))
    steps = (5 if high - low > 0.4 * unit else 20) / unit
    low, high = math.floor(steps * low), max(math.ceil(steps * high), math.floor(steps * low) + 1)
    return alt.Scale(domain=[low / steps, high / steps], nice=False, zero=False)


def _subtitle(summaries: list[Summary]) -> list[str]:
    models = ", ".join(dict.fromkeys(one.setting.model for one in summaries))
    data = ", ".join(dict.fromkeys(one.setting.data for one in summaries))
    numbers = [one.score.n for one in summaries]
    metrics = list(dict.fromkeys(one.setting.metric for one in summaries))
    ends = [
        " and ".join(f"{one.factor * end:g}{' %' * one.share}" for end in (one.low, one.high) if end is not None)
        for one in metrics
    ]
    cut = f", cut at {' or '.join(dict.fromkeys(filter(None, ends)))}" if any(ends) else ""
    bands = f"Bars and bands: 95 % Student t intervals{cut}."
    if min(numbers) == 1:
        bands = "No bars: one replicate, so no interval." if max(numbers) == 1 else f"{bands} No bar: one replicate."
    dense = " Dashed line: the dense network." if any(one.line.arm == "dense" for one in summaries) else ""
    if any(one.line.arm == "dense-rewound" for one in summaries):
        dense += " Level line in colour: the rewound dense network."
    return [f"{models} on {data}, {counts(numbers)}.", f"Points: means. {bands}{dense}{_lower(metrics)}"]


def _lower(metrics: Sequence[Metric]) -> str:
    names = [one.label for one in metrics if not one.larger]
    return f" Lower {' and '.join(names)} is better." if names else ""


def _alike(setting: Setting) -> tuple[str, str, Metric]:
    """Panels that share an axis."""
    return setting.model, setting.data, setting.metric


def _natural(panels: list[_Panel]) -> str:
    """What the dense networks brought to zero by themselves; nothing where that was not measured, or shades nothing."""
    zeros = [panel.zeros for panel in panels if panel.zeros is not None]
    if max(zeros, default=0.0) <= NATURAL:
        return ""
    span = " to ".join(dict.fromkeys((percent(min(zeros)), percent(max(zeros)))))
    return (
        "Shaded: densities at which pruning takes only what the dense network brought to zero by itself "
        f"({span} of its weights)."
    )
