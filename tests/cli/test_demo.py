"""`oneticket demo` as a newcomer runs it: what it leaves, what its report says; a second run trains nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from oneticket.cli.app import main
from oneticket.ticket.ticket import Ticket


@pytest.mark.slow
def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run() -> str:
        with pytest.raises(SystemExit) as left:
            main(["demo"])
        printed = capsys.readouterr()
        assert left.value.code == 0, printed.err
        return printed.err + printed.out

    said = run()
    folder = tmp_path / "demo"
    report = (folder / "report" / "report.md").read_text()
    assert "C2" in report and "All 126 cells of the study are trained; n = 3 replicates." in report
    assert "The store has no design from before" not in report, "what the study states is kept before its first run"
    assert (folder / "report" / "report.html").exists() and (folder / "accuracy.svg").exists()
    with open(folder / "rows.csv") as file:
        rows = list(csv.DictReader(file))
    at_last = {
        arm: [float(row["score"]) for row in rows if (row["arm"], row["level"]) == (arm, "20")]
        for arm in ("ticket", "reinit", "global-random")
    }
    means = {arm: sum(scores) / len(scores) for arm, scores in at_last.items()}
    assert means["ticket"] > means["reinit"] > means["global-random"]
    assert Ticket.load(folder / "ticket.safetensors").density < 0.013
    again = run()
    assert "0 steps done" in again and "258 reused" in again
    assert said.splitlines()[-1] == again.splitlines()[-1], "the same sentence"
