"""Legends above panels: how many columns they have, and how high they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt

from oneticket.charts.theme import HALF_LINE, LETTER, SYMBOL, WHOLE, folded

ROW = 15
"""Pixels from a row of a legend to the next."""
WIDER = 0.2
"""By how much letters may be wider than the renderer's, where a reader has none of `FONT`'s but the last."""


def legend(names: Sequence[str], title: str | None = None, *, room: int = WHOLE - 66, **options: Any) -> alt.Legend:
    """A legend above a panel, in as many columns as fit its width; longer names are wrapped.

    Columns are so far apart that names in a wider font do not run into the next column: a file's places are fixed.
    """
    lines = {name: folded(name, int((room - SYMBOL) / LETTER)) for name in names}
    columns, spare = 1, 0.0
    for tried in range(min(len(names), 3), 1, -1):
        widest = [max(len(name) for name in names[column::tried]) for column in range(tried)]
        needed = WIDER * LETTER * max(widest)
        if sum(SYMBOL + LETTER * letters for letters in widest) + needed * (tried - 1) <= room:
            columns, spare = tried, needed
            break
    label = f"{json.dumps(lines)}[datum.label]"
    look: dict[str, Any] = {"orient": "top", "direction": "horizontal", "symbolOpacity": 1, "labelExpr": label}
    return alt.Legend(title=title, columns=columns, columnPadding=14 + round(spare), **look, **options)


def legend_height(legend: alt.Legend) -> int:
    """Pixels of what `legend` made, as it is drawn: rows of its columns, each as high as its longest name's lines."""
    lines = list(json.JSONDecoder().raw_decode(legend["labelExpr"])[0].values())
    rows = [lines[start : start + legend["columns"]] for start in range(0, len(lines), legend["columns"])]
    title = 0 if legend["title"] in (None, alt.Undefined) else ROW + 2
    return title + sum(ROW + 2 * HALF_LINE * (max(map(len, row)) - 1) for row in rows)
