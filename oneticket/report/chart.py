"""Charts: accuracy over density, with intervals, as figures that come out the same to the byte."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from oneticket.ground import disk
from oneticket.ground.errors import SpecError, StoreError
from oneticket.report.summary import Line, Row, Setting, Summary, labels, places, summary
from oneticket.report.words import counts

# Told apart by colour-blind readers: Okabe and Ito's palette, its yellow (too light on white) replaced by two of Tol's.
INK, FAINT = "#333333", "#e6e6e6"
DENSE = ("#000000", "#777777")
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # the first comes with the renderer: the same bytes everywhere
WIDTHS, HEIGHT = {1: 640, 2: 440, 3: 340}, 320


def accuracy_chart(rows: Iterable[Row], title: str = "Accuracy as weights are pruned") -> alt.VConcatChart:
    """Accuracy over density: one panel per setting, one line per arm and source, a dashed rule for the dense network.

    Points are means and bands 95 % Student t intervals, cut at 0 and 1. Density falls to the right, on
    a logarithmic axis. Raises SpecError as `summary` does. Colours: Okabe and Ito, 2008.

    >>> row = {"model": "lenet-300-100", "target_data": "digits:b", "target_optimizer": "sgd", "level": 0}
    >>> chart = accuracy_chart([{**row, "arm": "dense", "density": 1, "replicate": r, "accuracy": 0.9} for r in (0, 1)])
    >>> chart.to_dict()["title"]["subtitle"][0]
    'lenet-300-100 on digits:b, n = 2 replicates'
    """
    summaries = summary(rows)
    called, where = labels(summaries), places(summaries)
    models = len({setting.model for setting in where}) > 1
    records = [_record(one, called[one.line]) for one in summaries]
    grid: dict[tuple[str, str], dict[Setting, list[Record]]] = {}
    for one, record in zip(summaries, records, strict=True):
        setting = one.setting
        grid.setdefault((setting.model, setting.data), {}).setdefault(setting, []).append(record)
    across = max(len(line) for line in grid.values())
    width = WIDTHS[min(across, 3)]
    marks, x = _marks(called, across * width), _density(records)
    lines = []
    for line in grid.values():
        y = _accuracy([record for panel in line.values() for record in panel])
        titles = {setting: (f"{setting.model}, " if models else "") + where[setting] for setting in line}
        panels = [_panel(line[setting], titles[setting], marks=marks, x=x, y=y, width=width) for setting in line]
        lines.append(alt.hconcat(*panels, spacing=28))
    chart = alt.vconcat(*lines, spacing=28, title=alt.Title(title, subtitle=_subtitle(summaries)))
    chart.config = alt.Config(**LOOK)
    return chart


def write(chart: alt.VConcatChart, folder: Path, name: str) -> tuple[Path, Path]:
    """Write the chart as `name`.svg and `name`.png (twice the size in pixels) and return both paths.

    Each file is there whole or not at all, and the same chart leaves the same bytes. Raises SpecError for a name
    that is a path, StoreError if the disk refuses.
    """
    if not name or Path(name).name != name:
        raise SpecError(f"name: expected the name of a file without folders, such as 'accuracy', got {name!r}")
    spec = json.dumps(chart.to_dict())
    svg, png = Path(folder) / f"{name}.svg", Path(folder) / f"{name}.png"
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=_VERSION, allowed_base_urls=[])
    try:
        disk.replace(svg, drawn.encode("utf-8"))
        disk.replace(png, vl_convert.vegalite_to_png(spec, vl_version=_VERSION, scale=2, allowed_base_urls=[]))
    except OSError as error:
        raise StoreError(f"cannot write charts to {folder}: {error.strerror}") from error
    return svg, png


def _record(one: Summary, label: str) -> Record:
    low, high = one.accuracy.low, one.accuracy.high
    return {
        "arm": label,
        "dense": one.line.arm == "dense",
        "density": one.density,
        "mean": one.accuracy.mean,
        "low": None if low is None else max(0.0, low),
        "high": None if high is None else min(1.0, high),
        "n": one.accuracy.n,
    }


def _subtitle(summaries: list[Summary]) -> list[str]:
    models = ", ".join(dict.fromkeys(one.setting.model for one in summaries))
    data = ", ".join(dict.fromkeys(one.setting.data for one in summaries))
    numbers = [one.accuracy.n for one in summaries]
    bands = "Bands: 95 % Student t intervals, cut at 0 and 1."
    if min(numbers) == 1:
        bands = "No band: one replicate, so no interval." if max(numbers) == 1 else f"{bands} No band: one replicate."
    dense = " Dashed: the dense network." if any(one.line.arm == "dense" for one in summaries) else ""
    return [f"{models} on {data}, {counts(numbers)}", f"Points: means. {bands}{dense}"]


def _panel(
    records: list[Record], title: str, *, marks: tuple[alt.Color, alt.Shape], x: alt.X, y: alt.Scale, width: int
) -> alt.LayerChart:
    (color, shape), axis = marks, alt.Axis(tickCount=6)
    mean, low = (alt.Y(f"{part}:Q", title="test accuracy", scale=y, axis=axis) for part in ("mean", "low"))
    rule, line = alt.Chart().transform_filter("datum.dense"), alt.Chart().transform_filter("!datum.dense")
    rule, line = rule.encode(color=color), line.encode(x=x, color=color)
    bounds, band = (part.transform_filter("isValid(datum.low)").encode(y=low, y2="high:Q") for part in (rule, line))
    layers = [
        bounds.mark_rect(opacity=0.12),
        rule.mark_rule(strokeDash=[6, 4], strokeWidth=1.5).encode(y=mean),
        band.mark_area(opacity=0.16),
        band.mark_rule(opacity=0.45),
        line.mark_line(strokeWidth=2).encode(y=mean),
        line.mark_point(filled=True, size=42, opacity=1).encode(y=mean, shape=shape),
    ]
    named = alt.Title(title, fontSize=15, color=INK, anchor="middle", offset=8)
    data = alt.InlineData(values=records)
    return alt.LayerChart(layer=layers, data=data, title=named, width=width, height=HEIGHT)


def _marks(called: dict[Line, str], width: int) -> tuple[alt.Color, alt.Shape]:
    """Colours tell arms apart; shapes tell sources apart or, where there is one source, arms once more."""
    arms = list(dict.fromkeys(line.arm for line in called if line.arm != "dense"))
    sources = list(dict.fromkeys(line.source for line in called if line.arm not in ("dense", "own")))
    marks: dict[str, tuple[str, str]] = {}
    for line, name in called.items():
        if line.arm == "dense":
            marks[name] = (DENSE[bool(line.source)], "stroke")
            continue
        number = arms.index(line.arm)
        shape = sources.index(line.source) if len(sources) > 1 and line.source in sources else number
        marks[name] = (PALETTE[number % len(PALETTE)], SHAPES[shape % len(SHAPES)])
    names, colors, shapes = list(marks), [color for color, _ in marks.values()], [shape for _, shape in marks.values()]
    legend = alt.Legend(title=None, orient="bottom", columns=_columns(names, width), symbolOpacity=1)
    return (
        alt.Color("arm:N", scale=alt.Scale(domain=names, range=colors), legend=legend),
        alt.Shape("arm:N", scale=alt.Scale(domain=names, range=shapes), legend=legend),
    )


def _columns(names: list[str], width: int) -> int:
    """As many legend columns as fit, at 7 pixels a letter and 45 for a symbol and its space."""
    for columns in range(len(names), 1, -1):
        widest = [max(len(name) for name in names[column::columns]) for column in range(columns)]
        if sum(45 + 7 * letters for letters in widest) <= width:
            return columns
    return 1


def _density(records: list[Record]) -> alt.X:
    """From the densest on the left to the sparsest on the right, both named on the axis, with room for half a point."""
    values = [record["density"] for record in records]
    most, least = max(values), min(values)
    scale = alt.Scale(type="log", domain=[most * 1.08, least / 1.08], nice=False)
    round_ones = (digit / 10**power for power in range(1, 7) for digit in (5, 2, 1))
    ticks = [most, *(tick for tick in round_ones if least * 1.4 < tick < most / 1.4), least]
    said = "format(100 * datum.value, '.2~r') + ' %'"
    axis = alt.Axis(values=sorted(set(ticks)), labelExpr=said, grid=False, tickSize=5)
    return alt.X("density:Q", title="weights kept", scale=scale, axis=axis)


def _accuracy(records: list[Record]) -> alt.Scale:
    """Round bounds around every point and band: fifths for falls, twentieths for small differences."""
    low = min(record["mean"] if record["low"] is None else record["low"] for record in records)
    high = max(record["mean"] if record["high"] is None else record["high"] for record in records)
    steps = 5 if high - low > 0.4 else 20
    low, high = math.floor(steps * low), max(math.ceil(steps * high), math.floor(steps * low) + 1)
    return alt.Scale(domain=[low / steps, high / steps], nice=False, zero=False)


Record = dict[str, Any]
LOOK: dict[str, Any] = {
    "background": "white",
    "font": FONT,
    "padding": 16,
    "view": {"stroke": None},
    "title": {
        "fontSize": 20,
        "subtitleFontSize": 13,
        "subtitleColor": INK,
        "subtitlePadding": 6,
        "anchor": "start",
        "offset": 14,
    },
    "axis": {
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": FAINT,
    },
    "legend": {
        "labelFontSize": 13,
        "labelColor": INK,
        "labelLimit": 0,
        "symbolSize": 90,
        "symbolStrokeWidth": 2,
        "columnPadding": 24,
        "rowPadding": 6,
        "offset": 16,
    },
}
_VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
