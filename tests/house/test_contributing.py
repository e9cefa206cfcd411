"""What CONTRIBUTING shows is all that a new row takes: its rows are put where it says, and used."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oneticket.charts.figures import figure_named
from oneticket.claims.claims import verdicts
from oneticket.data.find import HUB
from oneticket.data.spec import DataSpec
from oneticket.ground.table import Table
from oneticket.lottery.arms import ARMS, CONTROLS, words_of
from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.optim.schedule import lr_factor
from oneticket.optim.spec import OptimizerSpec
from oneticket.store.store import Store
from oneticket.study.findings import findings
from oneticket.study.grid import plan
from oneticket.study.spec import ComparisonSpec, StudySpec
from oneticket.study.track import tracker

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
ROW = re.compile(r"^# oneticket/(\S+)\.py, ([A-Z]+): [^\n]+\n(.*?)(?=^# |\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Put every row that is shown into its table; heading -> the row's name."""
    made: dict[str, str] = {}
    for kind, block in re.findall(r"^### An? (\w+)\n\n```python\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL):
        for file, table, text in ROW.findall(block):
            module = importlib.import_module(f"oneticket.{file.replace('/', '.')}")
            ((name, row),) = eval(f"{{{text}}}", vars(module)).items()
            there: Any = getattr(module, table)
            monkeypatch.setitem(there.rows if isinstance(there, Table) else there, name, row)
            assert made.setdefault(kind, name) == name
    monkeypatch.setitem(CONTROLS.rows, made["control"], ARMS[made["control"]])  # type: ignore[arg-type]
    return made


def test_every_kind_is_shown(rows: dict[str, str]) -> None:
    kinds = "optimizer schedule criterion scope task model dataset control claim figure tracker"
    assert [*rows] == kinds.split()


def test_what_is_shown_works(rows: dict[str, str], tmp_path: Path) -> None:
    quick = {"budget": "2ep", "batch": 32}
    optimizer = {"name": rows["optimizer"], "schedule": rows["schedule"]}
    spec = SearchSpec(
        data={"name": "digits:a", "per_class": 20},
        model=rows["model"],
        task=rows["task"],
        optimizer=optimizer,
        training=quick,
        rewind="1it",
        pruning={"criterion": rows["criterion"], "scope": rows["scope"]},
    )
    book = search(spec, levels=1)
    assert book.records[1]["density"] < 0.81 and book.records[1]["metric"] == "accuracy"
    assert lr_factor(spec.optimizer, 13, per_epoch=6, total=24) == 0.25
    carried = TransferSpec(
        data={"name": "digits:b", "per_class": 20}, task=rows["task"], optimizer=optimizer, training=quick
    )
    source = Source(ticket=book[1], rewind=book.weights)
    asked = ComparisonSpec(transfer=carried, controls=(rows["control"],))
    flipped = transfer(carried, source=source, arm=asked.controls[0])
    assert flipped.record["density"] == book.records[1]["density"]
    assert flipped.record["loss"] != transfer(carried, source=source).record["loss"]
    assert words_of(rows["control"]).label == "flipped signs"
    assert DataSpec(name=rows["dataset"]).crop == 0 and HUB[rows["dataset"]]
    assert verdicts([], [rows["claim"]])[0].statement == "Tickets are there."
    tracker(f"{rows['tracker']}:{tmp_path / 'runs'}").close()
    assert (tmp_path / "runs").is_dir()


def test_a_figure_is_drawn(rows: dict[str, str], tmp_path: Path) -> None:
    part = {"sources": ["digits:a"], "models": ["mlp"], "optimizers": ["sgd"]}
    study = StudySpec(name="mine", levels=[1], parts={"one": part}, figures=[rows["figure"]])
    found = findings(plan(study, RunContext()), Store(str(tmp_path)))
    assert found.plan.figures == (rows["figure"],)
    figure = figure_named(rows["figure"])
    assert figure.title == "Remaining weights" and figure.draw(found) is None
    drawn = figure.draw(replace(found, rows=[{"living": 7}]))
    assert drawn is not None and drawn.to_dict()["data"] == {"values": [{"remaining": 7}]}


def test_an_unknown_row_is_told_among_the_others(rows: dict[str, str]) -> None:
    with pytest.raises(Exception, match="did you mean 'radam'"):
        OptimizerSpec(name="radm")
