"""The scores in a ticket's file, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oneticket.ground.errors import SpecError
from oneticket.ground.metric import Metric
from oneticket.lottery.arms import words_of
from oneticket.stats.report_table import ReportTable
from oneticket.stats.stats import Interval
from oneticket.stats.words import MISSING, gained, plus_minus


def score_table(found: Sequence[Mapping[str, Any]]) -> ReportTable:
    """Scores as a table; raises SpecError for scores in another form than `scores` gives."""
    body = []
    for one in found:
        try:
            mean, above = _interval(one), one["difference"] and _interval(one["difference"])
            label, metric = words_of(str(one["arm"])).label, Metric.of(one)
            better = gained(above, metric) if above else MISSING
            body.append((f"{one['data']} ({one['optimizer']})", label, _mean(mean, metric), better))
        except (KeyError, TypeError, ValueError):
            raise SpecError(
                f"scores: expected data, optimizer, arm, mean, low, high, n and difference, got {one}"
            ) from None
    metrics = list(dict.fromkeys(Metric.of(one).heading for one in found))
    names, one_metric = " or ".join(metrics), len(metrics) == 1
    return ReportTable(
        title="What transfers of this ticket showed",
        header=("target", "arm", names if one_metric else "score", "ticket better by"),
        rows=tuple(body),
        caption=f"Test {names}, mean ± half the 95 % t interval; the paired difference, above 0 where the ticket is "
        "better; "
        f'n = {", ".join(sorted({str(one["n"]) for one in found}))} trainings each. "In all": every '
        "training ended there, as one does that names one class alone.",
    )


def _mean(mean: Interval, metric: Metric) -> str:
    """Replicates with one common score have most likely learned one class only: no narrow result."""
    alike = mean.n > 1 and mean.low == mean.high
    return f"{metric.written(mean.mean)} in all {mean.n}" if alike else plus_minus(mean, metric)


def _interval(one: Mapping[str, Any]) -> Interval:
    return Interval(mean=float(one["mean"]), low=one["low"], high=one["high"], n=int(one["n"]))
