"""The controls, as a forest plot: by how much a ticket is above each of them, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mode

import altair as alt

from oneticket.charts import theme
from oneticket.charts.gaps import missing_in_all
from oneticket.charts.legends import legend
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import Metric
from oneticket.ground.metric import named as named_metrics
from oneticket.lottery.arms import WHOLE, words_of
from oneticket.stats.regroup import parts, settled, sources_of
from oneticket.stats.summary import Line, Row, Summary, over, places, summary
from oneticket.stats.words import counts, label_place, percent, within, without
from oneticket.ticket.names import natural

LEVELS, WIDTH, STEP, SIDE = 3, 180, 14, 18


@dataclass(frozen=True, kw_only=True)
class _Panel:
    title: str
    below: str
    metric: Metric
    records: list[Record]


def controls_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """By how much the ticket is better than each control, per target and level; None where no control was trained.

    One line of panels per target; of more than three levels the densest, the sparsest and one between them. Points are
    means, bars 95 % Student t intervals, and filled where those exclude 0. Raises SpecError as `summary` does.
    """
    split, panels = parts(settled(rows)), []
    levels = _spread(sorted({row["level"] for row in rows if row["arm"] == "ticket"}))
    models = len({row["model"] for row in rows}) > 1
    for part, taken in split.items():
        summaries = summary(taken)
        for setting, place in places(summaries).items():
            title = ", ".join([setting.model] * models + [f"{part}: {place}" if len(split) > 1 else place])
            block = [one for one in summaries if one.setting == setting]
            records = [_differences(block, level) for level in levels]
            if any(records):
                panels += [
                    _Panel(
                        title=title,
                        below=found[0]["below"] if found else "nothing to compare",
                        metric=setting.metric,
                        records=found,
                    )
                    for found in records
                ]
    every = [record for panel in panels for record in panel.records]
    if not every:
        return None
    called = theme.short(sources_of(rows))
    usual = mode(numbers := [record["n"] for record in every])
    for record in every:
        record |= {"line": called[record["source"]], "few": record["n"] != usual, "many": f"n = {record['n']}"}
    scales = {metric: _scale(panels, metric) for metric in {panel.metric for panel in panels}}
    sources = sorted({record["line"] for record in every}, key=natural)
    drawn = [
        _draw(panel, scales[panel.metric], sources[start : start + theme.MOST], number)
        for number, (panel, start) in enumerate(
            (panel, start) for panel in panels for start in range(0, len(sources), theme.MOST)
        )
    ]
    views = [f"panel_{number}" for number in range(len(drawn))]
    subtitle = [
        f"Points: mean paired difference in test {named_metrics(rows)}; right of 0 the ticket is better. "
        f"{counts(numbers)}; n is said where it is not {usual}.",
        f"Bars: 95 % Student t intervals{without(numbers)}; filled points: the interval excludes 0.",
        missing_in_all(missing, rows),
    ]
    params = theme.picks(["line"], views) if len(sources) > 1 else []
    return sheet(drawn, title="Gains over the controls", subtitle=subtitle, params=params)


def _differences(block: Sequence[Summary], level: int) -> list[Record]:
    """Every ticket of a setting compared with every control of it, the target's own ticket, and the dense network."""
    made = []
    here = [one for one in block if one.level == level or one.line.arm in WHOLE]
    for ticket in here:
        if ticket.line.arm != "ticket":
            continue
        for rival in here:
            compared = over(ticket, rival) if _controls(rival, ticket) else None
            if compared is None:
                continue
            found, metric = compared.difference, ticket.setting.metric
            record = {
                "control": words_of("own" if rival.is_own_ticket else rival.line.arm).label,
                "source": ticket.line.source,
                "kept": percent(ticket.density),
                "below": f"{percent(ticket.density)} of the weights",
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "seen": bool(compared.sign),
                "difference": within(found, metric, signed=True),
                "ticket": within(ticket.score, metric),
                "rival": within(rival.score, metric),
            }
            made.append(record)
    return made


def _controls(rival: Summary, ticket: Summary) -> bool:
    if rival.line.arm == "dense" or rival.is_own_ticket:
        return rival.line == Line(arm="dense") or (rival.is_own_ticket and not ticket.is_own_ticket)
    return rival.line.arm != "ticket" and rival.line.source in ("", ticket.line.source)


def _scale(panels: Sequence[_Panel], metric: Metric) -> alt.Scale:
    """One scale for all panels of a metric, with room for what stands at the right."""
    records = [record for panel in panels if panel.metric == metric for record in panel.records]
    low, high = theme.reach(records, 0.0)
    room = 0.3 * (high - low) if any(record["few"] for record in records) else 0.0
    return alt.Scale(domain=[low, high + room], nice=True)


def _draw(panel: _Panel, reach: alt.Scale, sources: Sequence[str], number: int) -> alt.LayerChart:
    records = [record for record in panel.records if record["line"] in sources]
    here = [source for source in sources if any(record["line"] == source for record in records)]
    controls = sorted({record["control"] for record in records}, key=label_place)
    # Every source has its own lane within a control's band, whichever sources are shown.
    y = alt.Y(
        "control:N",
        sort=controls,
        title=None,
        scale=alt.Scale(paddingInner=0.25, paddingOuter=0.15),
        axis=theme.names_axis(controls, SIDE, grid=True, tickBand="extent"),
    )
    lane = alt.YOffset("line:N", sort=here, scale=alt.Scale(domain=here, paddingOuter=0.2))
    metric, better = panel.metric, f"ticket better by ({panel.metric.units})"
    axis = theme.metric_axis(metric, better, reach["domain"], signed=True, tickCount=4)
    x, bar = (alt.X(f"{end}:Q", title=better, scale=reach, axis=axis) for end in ("mean", "low"))
    tips = {"line": "ticket found on", "control": "minus", "kept": "weights kept"}
    tips |= {"difference": f"difference in {metric.units} [95 %]", "n": "n"}
    tips |= {"ticket": f"{metric.heading} of the ticket", "rival": "of the control"}
    shown = legend(here, title="ticket found on", room=theme.WHOLE - 160, values=here) if len(sources) > 1 else None
    color = alt.Color("line:N", scale=theme.marks(sources), legend=shown)
    shape = alt.Shape("line:N", scale=theme.marks(sources, theme.SHAPES), legend=shown)
    base = theme.picked(alt.Chart(), ["line"]) if len(sources) > 1 else alt.Chart()
    base = base.encode(y=y, yOffset=lane)
    seen, unseen = (base.transform_filter(f"{no}datum.seen") for no in ("", "!"))
    layers = [
        alt.Chart().mark_rule(color=theme.GREY, aria=False).encode(x=alt.XDatum(0, scale=reach)),
        base.mark_rule(strokeWidth=1.6, aria=False).encode(x=bar, x2="high:Q", color=color),
        theme.with_tooltip(unseen, tips, "point", size=50, fill=theme.PAPER, opacity=1)
        .encode(x=x, color=color, shape=shape)
        .properties(name=f"panel_{number}"),
        theme.with_tooltip(seen, tips, "point", size=50, filled=True, opacity=1).encode(x=x, color=color, shape=shape),
        base.transform_filter("datum.few")
        .mark_text(align="right", fontSize=11, color=theme.INK, aria=False)
        .encode(x=alt.XDatum(reach["domain"][1], scale=reach), text="many:N"),
    ]
    most = max((len(theme.folded(control, SIDE)) for control in controls), default=1)
    height = len(controls) * (max(15 * most, STEP * len(here)) + 8)
    return layered(layers, records, Heading(panel.title, [panel.below]), width=WIDTH, height=max(height, 20))


def _spread(levels: list[int]) -> list[int]:
    return levels if len(levels) <= LEVELS else [levels[0], levels[len(levels) // 2], levels[-1]]
