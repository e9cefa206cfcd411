"""The whole way, small: a search, its transfers, their rows, and the report of them."""

from __future__ import annotations

import pytest

from oneticket.lottery.place import Place
from oneticket.lottery.search import network
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.report.chart import accuracy_chart, write
from oneticket.report.summary import summary
from oneticket.report.table import tables
from oneticket.report.verdict import sentence
from oneticket.study.plan import Origin, search_steps, transfer_steps
from oneticket.study.rows import Row, rows
from oneticket.study.run import run
from oneticket.study.store import Store


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> list[Row]:
    store, place, steps = Store(tmp_path_factory.mktemp("store")), Place(), []
    quick = {"budget": "1ep"}
    spec = SearchSpec(data="digits:a", model="lenet-300-100", training=quick, rewind="1it")
    target = TransferSpec(data="digits:b", training=quick)
    for replicate in range(2):
        levels = search_steps(spec, levels=1, replicate=replicate, place=place)
        origin = Origin(replicate=replicate, network=network(spec, place), levels=levels)
        arms = ("dense", "ticket", "reinit")
        carried = transfer_steps(target, origin=origin, own=None, arms=arms, levels=[1], place=place)
        steps += [*levels, *carried]
    assert not run(steps, store=store, place=place).failed
    return rows(steps, store)


def test_real_rows_are_summed_up(trained) -> None:
    got = [(one.setting.data, one.line.arm, one.line.source, one.level, one.accuracy.n) for one in summary(trained)]
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
    assert all(file.stat().st_size > 10_000 for file in write(accuracy_chart(trained), tmp_path, "accuracy"))
