"""Tables of a report: lines of text, for any renderer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import groupby

from oneticket.ground.errors import SpecError, unknown
from oneticket.ground.metric import Metric
from oneticket.lottery.arms import WHOLE
from oneticket.stats.report_table import ReportTable
from oneticket.stats.stats import Interval
from oneticket.stats.summary import Row, Summary, labels, places, summary
from oneticket.stats.words import MISSING, counts, percent, plus_minus

COLUMNS = 5


def tables(rows: Iterable[Row], *, levels: Collection[int] | None = None, show: str = "score") -> list[ReportTable]:
    """One table per setting with anything to show: arms in rows, densities in columns, means with their intervals.

    `levels`: which levels to show besides the dense network; by default five, spread evenly. `show`: `score`, or
    `over-dense` for the paired gains over the dense network. Raises SpecError for a level that no network has, an
    unknown `show`, and as `summary` does.

    >>> row = {"model": "lenet-300-100", "target_data": "digits:b", "target_optimizer": "sgd", "level": 0}
    >>> found = [{**row, "arm": "dense", "density": 1.0, "replicate": n, "accuracy": 0.9} for n in range(3)]
    >>> print(text(tables(found)[0]))
    lenet-300-100 on digits:b under sgd
    arm         100 %
    dense  90.0 ± 0.0
    Accuracy (%), mean ± half the 95 % Student t interval; n = 3 replicates.
    """
    if show not in SHOWN:
        raise SpecError(unknown("show", show, SHOWN))
    summaries = summary(rows)
    known = sorted({one.level for one in summaries})
    strange = sorted(set(levels or ()) - set(known))
    if strange:
        raise SpecError(f"levels: expected some of {known}, got {strange}")
    blocks = groupby(summaries, key=lambda one: one.setting)
    titles = {setting: f"{setting.model} on {place}" for setting, place in places(summaries).items()}
    made = [_table(list(block), titles[setting], levels=levels, show=show) for setting, block in blocks]
    return [table for table in made if table.rows]


def lean(table: ReportTable) -> ReportTable:
    """The table without columns of one value, which the caption states instead.

    >>> given = ReportTable(title="", header=("arm", "model", "n"), rows=(("a", "m", "3"), ("b", "m", "3")), caption="")
    >>> lean(given).header, lean(given).caption
    (('arm',), 'In every row: model m; n = 3.')
    """
    columns = [*zip(*table.rows, strict=True)]
    same = [at for at, column in enumerate(columns) if len(table.rows) > 1 and len(set(column)) == 1]
    if not same or len(same) == len(columns):
        return table
    constant = [(table.header[at], columns[at][0]) for at in same]
    said = "; ".join(
        f"{name} = {cell}" if name == "n" else f"{name} {cell}"
        for name, cell in constant
        if name and cell not in ("", MISSING)
    )
    kept = [at for at in range(len(columns)) if at not in same]
    return ReportTable(
        title=table.title,
        header=tuple(table.header[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in table.rows),
        caption=" ".join(filter(None, [table.caption, f"In every row: {said}." if said else ""])),
    )


def text(table: ReportTable) -> str:
    """The table as plain text, its columns aligned."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    cells = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join([table.title, *cells, table.caption])


def _table(block: list[Summary], title: str, *, levels: Collection[int] | None, show: str) -> ReportTable:
    pick, metric = SHOWN[show], block[0].setting.metric
    chosen = set(_spread(sorted({one.level for one in block})) if levels is None else levels)
    # The dense networks are always shown, except as a difference to themselves.
    always = [arm for arm in WHOLE if show == "score" or arm != "dense"]
    shown = [one for one in block if one.line.arm in always or (one.line.arm != "dense" and one.level in chosen)]
    # Searches may differ in density at one level: each density has its column.
    columns = sorted({_column(one) for one in shown}, key=lambda column: (column[0], -column[2]))
    keys = list(dict.fromkeys((level, said) for level, said, _ in columns))
    values = {(one.line, one.level, percent(one.density)): pick(one) for one in shown}
    most = max((value.n for value in values.values() if value is not None), default=0)
    rows = [
        (name, *(_cell(values.get((line, *key)), most, metric) for key in keys)) for line, name in labels(shown).items()
    ]
    alone = " (no interval can be given)" if most == 1 else ""
    absent = f"; {MISSING} where there is none" if any(MISSING in row for row in rows) else ""
    return ReportTable(
        title=title,
        header=("arm", *(said for _, said in keys)),
        rows=tuple(rows),
        caption=f"{_caption(metric, show)}; {counts([most])}{alone}{absent}.",
    )


def _column(one: Summary) -> tuple[int, str, float]:
    return one.level, percent(one.density), one.density


def _cell(value: Interval | None, usual: int, metric: Metric) -> str:
    if value is None:
        return MISSING
    return plus_minus(value, metric) + (f" (n = {value.n})" if value.n not in (1, usual) else "")


def _spread(levels: list[int]) -> list[int]:
    last = len(levels) - 1
    return levels if last < COLUMNS else [levels[round(i * last / (COLUMNS - 1))] for i in range(COLUMNS)]


def _over_dense(one: Summary) -> Interval | None:
    return None if one.over_dense is None else one.over_dense.difference


def _caption(metric: Metric, show: str) -> str:
    """What the cells are, in the metric's words and direction."""
    named = metric.heading if show == "score" else f"{metric.words} (points)" if metric.share else metric.label
    name = named[:1].upper() + named[1:]
    lower = "" if metric.larger else ", lower is better"
    if show == "score":
        return f"{name}{lower}, mean ± half the 95 % Student t interval"
    way = "above the dense network's" if metric.larger else "below the dense network's, so that more is better"
    return f"{name} {way}, mean paired difference ± half its 95 % t interval"


SHOWN: dict[str, Callable[[Summary], Interval | None]] = {"score": lambda one: one.score, "over-dense": _over_dense}
