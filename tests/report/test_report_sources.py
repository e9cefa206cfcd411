"""Sources beside each other: every ticket's gain over the best single source's, with the numbers worked out by hand."""

import math

import pytest
from scipy import stats as scipy_stats

from oneticket.stats.sources import source_tables

SCORES = {
    "a": (0.80, 0.82, 0.81),
    "b": (0.90, 0.91, 0.92),
    "a+b": (0.93, 0.95, 0.94),
    "consensus(a, b)": (0.90, 0.90, 0.90),
}


def tickets(metric: str = "accuracy", sign: float = 1.0) -> list[dict[str, object]]:
    base = {"model": "m", "target_data": "c", "target_optimizer": "sgd", "source_optimizer": "sgd", "arm": "ticket"}
    names = {"consensus(a, b)": "a+b"}
    return [
        {
            **base,
            "source_data": source,
            "source_name": names.get(source, source),
            "level": 1,
            "density": 0.8,
            "replicate": replicate,
            "metric": metric,
            "better": "higher" if sign > 0 else "lower",
            "score": score if sign > 0 else 1 - score,
        }
        for source, scores in SCORES.items()
        for replicate, score in enumerate(scores)
    ]


def test_each_source_is_set_beside_the_best_single_one() -> None:
    (table,) = source_tables(tickets())
    cells = {row[0]: row[1] for row in table.rows}
    assert list(cells) == ["a+b (sgd)", "b (sgd)", "consensus(a, b) (sgd)", "a (sgd)"]
    assert cells["b (sgd)"] == "best: 91.0", "the best single source, not the joint one, which is better"
    differences = [3.0, 4.0, 2.0]
    half = scipy_stats.t.ppf(1 - 0.05 / 3 / 2, 2) * scipy_stats.tstd(differences) / math.sqrt(3)
    assert cells["a+b (sgd)"] == f"+3.0 [−{half - 3:.1f}, {3 + half:.1f}]", "three comparisons hold together"


def test_a_gain_is_a_gain_whichever_way_the_metric_counts() -> None:
    (up,), (down,) = source_tables(tickets()), source_tables(tickets("error", -1.0))
    assert [row[0] for row in up.rows] == [row[0] for row in down.rows]
    assert down.rows[0][1].startswith("+0.030")


@pytest.mark.parametrize("kept", ["a", "a+b"])
def test_one_source_or_none_that_is_single_is_no_comparison(kept: str) -> None:
    rows = [row for row in tickets() if row["source_name"] == kept]
    assert source_tables(rows) == []
    assert source_tables([{**row, "arm": "reinit"} for row in tickets()]) == []
