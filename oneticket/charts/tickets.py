"""Charts of one ticket or one book: where its weights are, and what its levels scored."""

from __future__ import annotations

from math import prod
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.layers import layers_chart
from oneticket.charts.scores import scores_chart
from oneticket.charts.sheet import sheet
from oneticket.charts.theme import Chart
from oneticket.ground.errors import SpecError
from oneticket.ground.metric import score_of
from oneticket.stats.words import percent
from oneticket.ticket import describe
from oneticket.ticket.book import Book
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import natural

ROW, BAR = 34, 12


def mask_chart(mask: Mask) -> Chart:
    """One bar for each layer: the share of its weights that remain.

    Raises SpecError for a mask that names no tensors.
    """
    if not mask:
        raise SpecError("the mask names no tensors, so there is no layer to draw")
    counts, shapes = mask.counts, mask.shapes
    names = sorted(shapes, key=natural)
    bars: list[dict[str, Any]] = []
    for name in names:
        total = prod(shapes[name])
        share = counts[name] / total if total else 1.0
        layer, said = name.removesuffix(".weight"), f"{percent(share)} of {total:,}"
        words = {"said": said, "line": f"{layer} · {said}", "remaining": f"{counts[name]:,}"}
        bars.append({"layer": layer, "share": share, **words})
    reach = "weights that remain, from 0 % to 100 %"
    axis = alt.Axis(format="%", description=reach)
    x = alt.X("share:Q", title="weights that remain", scale=alt.Scale(domain=[0, 1]), axis=axis)
    y = alt.Y("layer:N", sort=[bar["layer"] for bar in bars], axis=None)
    base = alt.Chart(alt.InlineData(values=bars)).encode(x=x, y=y)
    tooltip = {"layer": "layer", "said": "weights that remain", "remaining": "in number"}
    layers = [
        theme.with_tooltip(base, tooltip, "bar", color=theme.PALETTE[0], height=BAR, yOffset=BAR / 2),
        # Above its bar, since a name of many parts has no room beside it.
        base.mark_text(align="left", dy=-BAR + 1, limit=theme.WHOLE, color=theme.INK, aria=False).encode(
            text="line:N", x=alt.value(0)
        ),
    ]
    panel = alt.LayerChart(layer=layers, width=theme.WHOLE, height=ROW * len(bars))
    whole = f"In all {percent(mask.density)} of {mask.total:,} remain"
    return sheet([panel], title="Where the weights are", subtitle=[whole])


def book_layers_chart(book: Book) -> Chart:
    """Layers down, levels across: the colour is the share of a layer's weights that remain.

    Raises SpecError for a book that prunes nothing.
    """
    rows = [
        {**_called(book), "replicate": _replicate(book), "level": level, "density": density, **layer}
        for level, density in enumerate(book.densities)
        for layer in _layers(book.mask(level))
    ]
    chart = layers_chart(rows)
    if chart is None:
        raise SpecError("the book names no prunable weights, so there is no layer to draw")
    return chart


def levels_chart(book: Book) -> Chart:
    """The score of each level over its density, and the dense network's.

    Raises SpecError for a book whose records hold no scores, as for imported masks.
    """
    called = _called(book)
    target = {"target_data": called["source_data"], "target_optimizer": called["source_optimizer"]}
    rows: list[dict[str, Any]] = []
    for level, (record, density) in enumerate(zip(book.records, book.densities, strict=False)):
        score, metric = score_of(record), describe.sound_metric(record)
        if describe.number(score) and metric is not None:
            what = {"arm": "ticket" if level else "dense", "level": level, "density": density}
            rows.append({**called, **target, **what, **metric.plain(), "score": score, "replicate": _replicate(book)})
    if not rows:
        raise SpecError("the book's records hold no scores; plot_layers() shows where its weights are")
    return scores_chart(rows)


def _layers(mask: Mask) -> list[dict[str, Any]]:
    counts, shapes = mask.counts, mask.shapes
    names = sorted(shapes, key=natural)
    return [
        {"layer": name, "position": place, "living": counts[name], "total": prod(shapes[name])}
        for place, name in enumerate(names)
    ]


def _called(book: Book) -> dict[str, str]:
    """Names of its network, data and optimizer, in plain words where the book does not say."""
    optimizer = describe.word(describe.at(book.lineage, "search", "optimizer", "name"))
    return {
        "model": describe.network(book) or "your network",
        "source_data": describe.data(book) or "your data",
        "source_optimizer": optimizer or "your optimizer",
    }


def _replicate(book: Book) -> int:
    said = book.lineage.get("replicate")
    return said if type(said) is int else 0
