"""The controls, as a forest plot: by how much a ticket is above each of them, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from oneticket.charts import theme
from oneticket.charts.gaps import missing_in_all
from oneticket.charts.theme import Chart, Record
from oneticket.ground.metric import named as named_metrics
from oneticket.lottery.spec import WHOLE
from oneticket.stats.regroup import parts, settled, sources_of
from oneticket.stats.summary import Line, Row, Summary, over, places, summary
from oneticket.stats.words import counts, label_place, percent, within, words_of

ACROSS, WIDTH, STEP = 3, 250, 13


@dataclass(frozen=True, kw_only=True)
class _Panel:
    title: str
    below: str
    records: list[Record]


def controls_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """By how much the ticket is better than each control, per target and level; None where no control was trained.

    One line of panels per target; of more than three levels the densest, the sparsest and one between them. Points are
    means, bars 95 % Student t intervals, and filled where those leave out 0. Raises SpecError as `summary` does.
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
                    _Panel(title=title, below=found[0]["below"] if found else "nothing to compare", records=found)
                    for found in records
                ]
    every = [record for panel in panels for record in panel.records]
    if not every:
        return None
    named = theme.short(sources_of(rows))
    sources = sorted({named[record["source"]] for record in every})
    bounds = [record[end] for record in every for end in ("low", "mean", "high") if record[end] is not None]
    reach = alt.Scale(domain=[min(0.0, *bounds), max(0.0, *bounds)], nice=True)
    across = len(levels)
    color = alt.Color(
        "source:N",
        scale=theme.source_colors(sorted(named.values())),
        legend=theme.legend(sources, across * WIDTH, "ticket found on", values=sources) if len(sources) > 1 else None,
    )
    usual = max(record["n"] for record in every)
    for record in every:
        record |= {"source": named[record["source"]], "few": record["n"] < usual, "many": f"n = {record['n']}"}
    drawn = [
        _draw(panel, reach, color, sources, number, names=number % across == 0) for number, panel in enumerate(panels)
    ]
    views = [f"panel_{number}" for number in range(len(drawn))]
    subtitle = [
        f"Points: mean paired difference in test {named_metrics(rows)}; right of 0 the ticket is better. "
        f"{counts([record['n'] for record in every])}; n is said where it is not the largest.",
        "Bars: 95 % Student t intervals; filled points: the interval leaves out 0. One replicate has no bar.",
        missing_in_all(missing, rows),
    ]
    params = theme.picks(["source"], views) if len(sources) > 1 else []
    return theme.sheet(drawn, title="Tickets beside their controls", subtitle=subtitle, across=across, params=params)


def _differences(block: Sequence[Summary], level: int) -> list[Record]:
    """Every ticket of a setting beside every control of it, the target's own ticket, and the dense network."""
    made = []
    here = [one for one in block if one.level == level or one.line.arm in WHOLE]
    for ticket in here:
        if ticket.line.arm != "ticket":
            continue
        for rival in here:
            compared = over(ticket, rival) if _controls(rival, ticket) else None
            if compared is None:
                continue
            found = compared.difference
            record = {
                "control": words_of("own" if rival.at_home else rival.line.arm).label,
                "source": ticket.line.source,
                "kept": percent(ticket.density),
                "below": f"{percent(ticket.density)} of the weights",
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "seen": bool(compared.seen),
                "difference": within(found),
                "ticket": within(ticket.score),
                "rival": within(rival.score),
            }
            made.append(record)
    return made


def _controls(rival: Summary, ticket: Summary) -> bool:
    if rival.line.arm == "dense" or rival.at_home:
        return rival.line == Line(arm="dense") or (rival.at_home and not ticket.at_home)
    return rival.line.arm != "ticket" and rival.line.source in ("", ticket.line.source)


def _draw(
    panel: _Panel, reach: alt.Scale, color: alt.Color, sources: Sequence[str], number: int, *, names: bool
) -> alt.LayerChart:
    controls = sorted({record["control"] for record in panel.records}, key=label_place)
    # Every source has its own lane within a control's band, whichever sources are shown.
    y = alt.Y(
        "control:N",
        sort=controls,
        title=None,
        scale=alt.Scale(paddingInner=0.25, paddingOuter=0.15),
        axis=alt.Axis(labels=names, ticks=False, domain=False, grid=True, labelLimit=240, tickBand="extent"),
    )
    lane = alt.YOffset("source:N", sort=list(sources), scale=alt.Scale(domain=list(sources), paddingOuter=0.2))
    x = alt.X("mean:Q", title="ticket better by", scale=reach, axis=alt.Axis(tickCount=5, format="+.2~f"))
    told = {"source": "ticket found on", "control": "minus", "kept": "weights kept", "difference": "difference [95 %]"}
    told |= {"n": "n", "ticket": "score of the ticket", "rival": "of the control"}
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in told.items()]
    base = alt.Chart()
    if len(sources) > 1:
        base = theme.picked(base, ["source"])
    base = base.encode(y=y, yOffset=lane)
    point = base.encode(x=x, color=color, tooltip=tips)
    layers = [
        alt.Chart().mark_rule(color=theme.GREY).encode(x=alt.XDatum(0, scale=reach)),
        base.mark_rule(strokeWidth=1.6).encode(
            x=alt.X("low:Q", scale=reach, title="ticket better by"), x2="high:Q", color=color
        ),
        point.mark_point(size=44, fill="white", opacity=1).properties(name=f"panel_{number}"),
        point.transform_filter("datum.seen").mark_point(size=44, filled=True, opacity=1),
        base.transform_filter("datum.few")
        .mark_text(align="right", fontSize=10)
        .encode(x=alt.value(WIDTH + 18), text="many:N", color=color),
    ]
    height = max(len(controls), 1) * (STEP * len(sources) + 10)
    return theme.layered(
        layers,
        panel.records,
        theme.named(panel.title, WIDTH, [panel.below]),
        width=WIDTH,
        height=height,
    )


def _spread(levels: list[int]) -> list[int]:
    return levels if len(levels) <= ACROSS else [levels[0], levels[len(levels) // 2], levels[-1]]
