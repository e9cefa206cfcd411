"""The cost ledger: what every search cost, and what transferring its tickets saved."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from oneticket.charts import theme
from oneticket.charts.legends import legend
from oneticket.charts.sheet import Heading, layered, sheet
from oneticket.charts.theme import Chart, Record
from oneticket.stats.summary import Row

WIDTH, BAND, SIDE, MANY = 200, 52, 16, 12
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
COST, SAVED = "finding it", "searches not needed"


def cost_chart(ledger: Sequence[Row]) -> Chart | None:
    """Two bars per search: the time that finding took, and the time of the searches that its tickets made needless.

    Sums over all replicates, as measured: there is nothing to give an interval for. None where nothing was searched.
    """
    if not ledger:
        return None
    longest = max(max(row["seconds"] or 0.0, row["seconds_saved"] or 0.0) for row in ledger)
    unit, length = next(((name, size) for name, size in UNITS if longest >= 2 * size), UNITS[-1])
    called = theme.short(_source(row) for row in ledger)
    models = len({row["model"] for row in ledger}) > 1
    records = [record for row in ledger for record in _records(row, called, unit, length, models=models)]
    searches = list(dict.fromkeys(record["search"] for record in records))
    reach = alt.Scale(domain=[0, longest / length * 1.5], nice=False)
    drawn = [
        _draw([each for each in records if each["search"] in here], here, unit, reach)
        for here in (searches[start : start + MANY] for start in range(0, len(searches), MANY))
    ]
    numbers = sorted({row["replicates"] for row in ledger})
    count = f"n = {' to '.join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))} replicate{'s' * (numbers[-1] > 1)}"
    subtitle = [
        f"Time as measured, summed over {count} of each search: a sum, so without an interval.",
        "Not needed: as many searches at this one's price as there are targets and optimizers that took its tickets.",
    ]
    return sheet(drawn, title="What searches cost, and what transfers saved", subtitle=subtitle)


def _draw(records: list[Record], searches: list[str], unit: str, reach: alt.Scale) -> alt.LayerChart:
    kinds = [COST, SAVED]
    axis = theme.names_axis(searches, SIDE)
    y = alt.Y("search:N", sort=searches, title=None, scale=alt.Scale(paddingInner=0.3), axis=axis)
    x = alt.X("time:Q", title=f"time ({unit})", scale=reach, axis=alt.Axis(tickCount=4))
    color = alt.Color(
        "kind:N", scale=theme.marks(kinds, theme.PALETTE[1::-1]), legend=legend(kinds, room=theme.WHOLE - 140)
    )
    tooltip = {"search": "search", "kind": "time of", "said": "time", "work": "work", "n": "replicates"}
    base = alt.Chart().encode(y=y, x=x, yOffset=alt.YOffset("kind:N", sort=kinds))
    layers = [
        theme.with_tooltip(base, tooltip, "bar", opacity=0.85).encode(color=color),
        base.mark_text(align="left", dx=6, fontSize=12, color=theme.INK, aria=False).encode(text="said:N"),
    ]
    return layered(layers, records, Heading("Every search"), width=WIDTH, height=BAND * len(searches))


def _records(row: Row, called: dict[str, str], unit: str, length: float, *, models: bool) -> list[Record]:
    search = f"{row['model']}, {called[_source(row)]}" if models else called[_source(row)]
    work = f"{row['trainings']:,} trainings, {row['steps']:,} steps, {row['examples']:,} examples"
    many = row["searches_saved"]
    saved = f"{many:,} search{'' if many == 1 else 'es'} saved, {row['transferred']:,} trainings of transferred tickets"
    made = []
    for kind, seconds, done in ((COST, row["seconds"], work), (SAVED, row["seconds_saved"], saved)):
        said = "not known" if seconds is None else f"{seconds / length:,.3g} {unit}"
        record = {"search": search, "kind": kind, "time": (seconds or 0.0) / length, "said": said, "work": done}
        made.append({**record, "n": row["replicates"]})
    return made


def _source(row: Row) -> str:
    return f"{row['source_data']} ({row['source_optimizer']})"
