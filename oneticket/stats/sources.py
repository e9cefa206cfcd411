"""Sources compared: every source's ticket with that of the best single source, target by target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oneticket.stats.report_table import ReportTable
from oneticket.stats.stats import CONFIDENCE, paired
from oneticket.stats.summary import Line, Row, Summary, places, summary
from oneticket.stats.words import MISSING, percent, within
from oneticket.ticket.names import separate


def source_tables(rows: Iterable[Row]) -> list[ReportTable]:
    """One table per setting with tickets of several sources: sources in rows, densities in columns.

    A cell is the gain of a source's ticket over the ticket of the best single source at that density: the mean paired
    difference over replicates, in the metric's unit, with intervals that hold simultaneously for all cells of the
    density (Bonferroni). A single source is one dataset; joint searches and consensuses are of several. The best one is
    chosen by its mean on the same networks, which favours it, so a gain over it is conservative. Raises SpecError as
    `summary` does.

    >>> row = {"model": "m", "target_data": "c", "target_optimizer": "sgd", "source_optimizer": "sgd", "arm": "ticket"}
    >>> scores = {"a": 0.80, "b": 0.90, "a+b": 0.93}
    >>> found = [
    ...     {**row, "source_data": name, "level": 1, "density": 0.8, "replicate": n, "accuracy": (1 + n / 100) * score}
    ...     for name, score in scores.items() for n in (0, 1)
    ... ]
    >>> [*source_tables(found)[0].rows]
    [('a+b (sgd)', '+3.0 [2.6, 3.4]'), ('b (sgd)', 'best: 90.5'), ('a (sgd)', '−10.0 [−11.3, −8.8]')]
    """
    summaries = [one for one in summary(rows) if one.line.arm == "ticket" and not one.is_own_ticket and one.line.data]
    made = []
    for setting, place in places(summaries).items():
        there = [one for one in summaries if one.setting == setting]
        if len({one.line for one in there}) > 1 and any(_single(one) for one in there):
            made.append(_table(there, f"{setting.model} on {place}"))
    return made


def _table(there: Sequence[Summary], title: str) -> ReportTable:
    levels = {one.level: one.density for one in sorted(there, key=lambda one: one.level)}
    columns = [_column([one for one in there if one.level == level]) for level in levels]
    metric = there[0].setting.metric
    mean = {line: sum(one.score.mean for one in there if one.line == line) for line in {one.line for one in there}}
    order = sorted(mean, key=lambda line: (-metric.gain(mean[line], 0.0), line.source))
    return ReportTable(
        title=title,
        header=("ticket from", *(percent(density) for density in levels.values())),
        rows=tuple((line.source, *(column.get(line, MISSING) for column in columns)) for line in order),
        caption=f"Gain over the ticket of the best single source, in {metric.units}, and its {metric.heading}; "
        f"{100 * CONFIDENCE:.0f} % intervals "
        "that hold together for all sources at a density. The best is chosen by its mean on these very networks, which "
        "favours it.",
    )


def _column(there: Sequence[Summary]) -> dict[Line, str]:
    """The cell of each source at one level."""
    metric = there[0].setting.metric
    single = [one for one in there if _single(one)]
    if not single:
        return {}
    best = max(single, key=lambda one: metric.gain(one.score.mean, 0.0))
    others = [one for one in there if one is not best]
    confidence = 1 - (1 - CONFIDENCE) / max(len(others), 1)
    said = {best.line: f"best: {metric.written(best.score.mean)}"}
    for one in others:
        if gains := metric.gains(one.values, best.values):
            gain = paired(gains, dict.fromkeys(gains, 0.0), confidence)
            said[one.line] = within(gain.difference, metric, signed=True)
    return said


def _single(one: Summary) -> bool:
    """Whether the source is one dataset."""
    return len(separate(str(one.row.get("source_name") or one.line.data))) == 1
