"""`--track` for find and transfer: a training is shown while it runs, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import oneticket_cli

from oneticket.ticket.names import book_file

FIND = "find --data digits:a --model mlp --widths 8 --levels 1 --budget 40it --rewind 4it --quiet"
OWN = """
import json


class Runs:
    def __init__(self, where):
        self.where = where

    def note(self, **said):
        with open(self.where, "a") as file:
            file.write(json.dumps(said) + "\\n")

    def has(self, run):
        return False

    def write(self, run):
        self.note(event="write", run=run.name)

    def close(self):
        self.note(event="close")


class Live(Runs):
    def begin(self, run):
        self.note(event="begin", run=run.name, results=dict(run.results))
        return Under(self, run.name)


class Under:
    def __init__(self, runs, name):
        self.runs, self.name = runs, name

    def log(self, points):
        self.runs.note(event="log", run=self.name, points=[[at, dict(values)] for at, values in points])

    def end(self, run):
        self.runs.note(event="end", run=run.name, losses=run.losses, results=dict(run.results))

    def drop(self):
        self.runs.note(event="drop", run=self.name)
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)


def heard(where: str) -> list[dict[str, object]]:
    import json

    return [json.loads(line) for line in Path(where).read_text().splitlines()]


def test_a_training_is_shown_while_it_runs_and_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = oneticket_cli(f"{FIND} --out a --track mine.py:Live:live.jsonl", capsys)
    assert code == 0, err
    events = heard("live.jsonl")
    runs = [said["run"] for said in events if said["event"] == "begin"]
    assert len(runs) == 2, "both levels; the first steps are not measured"
    for run in runs:
        points = [point for said in events if said["event"] == "log" and said["run"] == run for point in said["points"]]  # type: ignore[attr-defined]
        (end,) = (said for said in events if said["event"] == "end" and said["run"] == run)
        assert [[at, values["train_loss"]] for at, values in points] == end["losses"]
        assert [at for at, _ in points] == list(range(1, 37))
        assert all(values["lr"] == 0.02 for at, values in points)
        measured = [values for _, values in points if "accuracy" in values]
        assert len(measured) == 8
        assert all(0 <= values["accuracy"] <= 1 for values in measured)
    assert events[-1]["event"] == "close"
    code, _, err = oneticket_cli(f"{FIND} --out b --store other", capsys)
    assert code == 0, err
    assert book_file("a", 0).read_bytes() == book_file("b", 0).read_bytes()


def test_a_tracker_without_live_runs_is_fed_after(capsys: pytest.CaptureFixture[str]) -> None:
    assert oneticket_cli(f"{FIND} --out a", capsys)[0] == 0
    words = (
        "transfer a --data digits:b --levels 1 --controls reinit --budget 4it --quiet --track mine.py:Runs:after.jsonl"
    )
    code, _, err = oneticket_cli(words, capsys)
    assert code == 0, err
    assert [said["event"] for said in heard("after.jsonl")] == ["write"] * 3 + ["close"]


def test_tensorboard_shows_a_run_under_way_and_then_whole(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard", reason="the tracker's package is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, _, err = oneticket_cli(f"{FIND} --out a --track tensorboard:logs", capsys)
    assert code == 0, err
    folders = sorted(Path("logs").iterdir())
    assert len(folders) == 2 and not [folder for folder in folders if folder.name.endswith(".under-way")]
    events = EventAccumulator(str(folders[0])).Reload()
    assert {"train_loss", "lr", "accuracy"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("train_loss")) == 36 and len(events.Scalars("accuracy")) == 9
