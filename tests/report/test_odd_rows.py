"""Rows that somebody edited: each odd cell is scored, or refused in words, and damage to the file is told."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pandas
import pytest
import torch

from oneticket.ground.errors import OneticketError, SpecError
from oneticket.publish.score_tables import score_tables
from oneticket.report.export import read_rows, write_rows
from oneticket.stats.scores import scores
from oneticket.study.rows import COLUMNS
from oneticket.ticket import describe
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

KNOWN = {
    "mask": Mask({"w": torch.tensor([[True, False]])}),
    "weights": {"w": torch.ones(1, 2)},
    "contract": Contract(rewind="0it", step=0, head=()),
}
TICKET = Ticket(**KNOWN)
ROW = {
    **dict.fromkeys(COLUMNS),
    "model": "mlp",
    "target_data": "digits:b",
    "target_optimizer": "sgd",
    "metric": "accuracy",
    "better": "higher",
    "density": 0.5,
    "score": 0.5,
    "accuracy": 0.5,
    "loss": 1.0,
    "living": 1,
    "lr": 0.1,
    "budget": "1it",
    "seed": 0,
}
ROWS = [
    {**ROW, "arm": arm, "level": int(arm == "ticket"), "replicate": replicate, "source_id": TICKET.id}
    for arm in ("dense", "ticket")
    for replicate in (0, 1)
]
ODD = (math.inf, -1e308, "x", True, 10**25, -1, 0.5, "\x1b[31m[b]", None)


@pytest.mark.parametrize("column", COLUMNS)
def test_any_cell_is_scored_or_refused(column: str, tmp_path: Path) -> None:
    for value in ODD:
        for whole in (True, False):
            rows = [{**row, column: value} if whole or not at else row for at, row in enumerate(ROWS)]
            pandas.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
            try:
                found = scores(TICKET, read_rows(tmp_path / "rows.csv"))
                scored = Ticket(**KNOWN, evidence={"scores": found})
                assert score_tables([*describe.scores(scored)])
            except OneticketError:
                continue


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_rows_come_back_and_damage_is_told(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    write_rows(ROWS, path)
    assert [each["difference"] for each in scores(TICKET, read_rows(path))][1] is None
    data = path.read_bytes()
    for cut in range(0, len(data) - 3, 1 + len(data) // 50):
        for damaged in (data[:cut], data[:cut] + b"\x00\xff[" + data[cut + 1 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(SpecError):
                read_rows(path)
    with pytest.raises(SpecError, match=f"{path}: rows cannot be read"):
        read_rows(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"density": 1.5}, "expected a number in every row of density, from 0 to 1"),
        ({"level": -1}, "expected a number in every row of level, from 0 to 255"),
        ({"living": "many"}, "expected a number in every row of living, from 0 to"),
        ({"score": math.nan}, "expected a number in every row of score"),
        ({"target_data": None}, "expected a name in every row of target_data"),
    ],
)
def test_what_a_row_cannot_say(change: dict[str, object], words: str, tmp_path: Path) -> None:
    pandas.DataFrame([{**row, **change} for row in ROWS]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(SpecError, match=words):
        read_rows(tmp_path / "rows.csv")


def test_a_target_without_the_ticket_is_left_out() -> None:
    other = [{**row, "target_data": "digits:a"} if row["arm"] == "dense" else row for row in ROWS]
    assert {(one["data"], one["arm"]) for one in scores(TICKET, ROWS)} == {
        ("digits:b", "dense"),
        ("digits:b", "ticket"),
    }
    assert {(one["data"], one["arm"]) for one in scores(TICKET, other)} == {("digits:b", "ticket")}
