"""The whole way, small: a search, its transfers, their rows, and the report of them."""

from __future__ import annotations

import pytest

from oneticket.charts.chart import write
from oneticket.charts.scores import scores_chart
from oneticket.engine.inline import run
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.report.verdict import sentence
from oneticket.stats.summary import summary
from oneticket.stats.table import tables
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.plan import search_cells, transfer_cells
from oneticket.study.rows import Row, rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> list[Row]:
    store, context, cells = Store(tmp_path_factory.mktemp("store")), RunContext(), []
    quick = {"budget": "1ep"}
    spec = SearchSpec(data="digits:a", model="lenet-300-100", training=quick, rewind="1it")
    target = TransferSpec(data="digits:b", training=quick)
    for replicate in range(2):
        origin = search_origin(spec, levels=1, replicate=replicate, context=context)
        arms = ("dense", "ticket", "reinit")
        cells += search_cells(origin)
        cells += transfer_cells(target, origin=origin, own=None, arms=arms, levels=[1], context=context)
    assert not run([cell.step for cell in cells], store=store, context=context).failed
    return rows(cells, store)


def test_real_rows_are_summed_up(trained) -> None:
    got = [(one.setting.data, one.line.arm, one.line.source, one.level, one.score.n) for one in summary(trained)]
    assert got == [
        ("digits:a", "dense", "", 0, 2),
        ("digits:a", "ticket", "digits:a (sgd)", 1, 2),
        ("digits:b", "dense", "", 0, 2),
        ("digits:b", "ticket", "digits:a (sgd)", 1, 2),
        ("digits:b", "reinit", "digits:a (sgd)", 1, 2),
    ]


def test_real_rows_are_reported(trained, tmp_path) -> None:
    search, transfer = tables(trained)
    assert search.title == "lenet-300-100 on digits:a under sgd"
    assert transfer.header == ("arm", "100 %", "80 %")
    assert sentence(trained).count("the ticket from digits:a (sgd) reached") == 2
    assert all(file.stat().st_size > 10_000 for file in write(scores_chart(trained), tmp_path, "accuracy"))
