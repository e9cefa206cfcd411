"""What is shown of a run: phases, a line for each finished training, and no estimate before it can be one."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Timer
from threading import enumerate as enumerate_threads
from types import SimpleNamespace
from typing import Any

import pytest
from commands import oneticket_cli
from waiting import until

from oneticket.cli import status
from oneticket.cli.status import telling
from oneticket.ground import clock
from oneticket.ground.phase import phase
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.session.progress import LATE, SOON, Pace, view
from oneticket.session.screen import LogScreen
from oneticket.session.work import Work, work
from oneticket.store.step import Step
from oneticket.study.grid import plan
from oneticket.study.plan import closure
from oneticket.study.spec import StudySpec

FIND = "find --data digits:a --model mlp --widths 8 --levels 2 --budget 4it --rewind 1it"


class Clock:
    """A clock that stands still unless told."""

    time = 100.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def run_at(position: int) -> Any:
    return SimpleNamespace(position=position, start=0, losses=[0.0] * 100)


def steps(count: int) -> list[Step]:
    spec = SearchSpec(data="digits:a", model="mlp", rewind="1ep", training={"budget": "10ep"})
    return [Step(kind="rewind", args={**spec.identity(), "replicate": number}) for number in range(count)]


def test_nothing_is_estimated_before_it_can_be(time: Clock) -> None:
    pace = Pace()
    time.time += 300  # importing, reading, measuring this machine
    assert pace.left(10) is None
    pace.at(0.01)
    time.time += 0.9 * SOON
    pace.at(0.5)
    assert pace.left(10) is None, "too soon"
    time.time += 0.2 * SOON
    assert pace.left(10) is None, "no step has ended since"
    pace.end(1.0)
    assert pace.left(9) == pytest.approx(1.1 * SOON / 0.99 * 9)


def test_a_long_training_is_estimated_within(time: Clock) -> None:
    pace = Pace()
    pace.at(0.0)
    time.time += LATE
    pace.at(0.25)
    assert pace.left(2.0) == pytest.approx(LATE / 0.25 * 1.75)


def test_workers_are_not_watched_and_yet_estimated(time: Clock) -> None:
    pace = Pace()
    pace.end(1.0)
    assert pace.left(5) is None
    time.time += 10
    pace.end(1.0)
    assert pace.left(4) == pytest.approx(40)


def test_a_step_counts_by_the_examples_that_it_trains_on(folder: Path) -> None:
    study = StudySpec.read(
        {
            "name": "sizes",
            "levels": [1],
            "rewind": "1ep",
            "training": {"budget": "4ep", "batch": 100},
            "models": {"mlp": {"name": "mlp", "widths": [8]}},
            "optimizers": {"sgd": {"name": "sgd"}},
            "sets": {
                "a": {"data": {"name": "digits:a", "per_class": 40}},
                "b": {"data": {"name": "digits:b", "per_class": 10}, "training": {"budget": "6it", "batch": 20}},
            },
            "parts": {"one": {"sources": ["a"], "targets": ["b"]}},
            "arms": ["dense", "ticket"],
        }
    )
    context = RunContext()
    everything = closure([cell.step for cell in plan(study, context).cells])
    works = work(everything, context)
    kinds = {(step.kind, step.args.get("level")): works[step.key] for step in everything}
    assert kinds["rewind", None] == Work(updates=4, examples=400)
    assert kinds["level", 0] == Work(updates=12, examples=1200)
    assert {each for (kind, _), each in kinds.items() if kind == "transfer"} == {Work(updates=6, examples=120)}


def test_the_time_left_is_that_of_the_examples_left(time: Clock) -> None:
    long, short = steps(2)
    works = {long.key: Work(updates=50, examples=5000), short.key: Work(updates=10, examples=100)}
    with view([long, short], progress=False, works=works) as shown:
        shown.observe(short, "begun")
        shown.watch(run_at(0))
        time.time += 2 * SOON
        shown.observe(short, "done")
        assert shown.pace.left(shown.left) == pytest.approx(2 * SOON * 50)
        shown.observe(long, "begun")
        time.time += 50 * SOON
        shown.watch(run_at(25))
        assert shown.share == 0.5, "half of its optimizer steps, wherever the schedule ends"
        assert shown.pace.left(shown.left) == pytest.approx(52 * SOON / 2600 * 2500)


def test_plain_lines_come_now_and_then(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    some = steps(3)
    with view(some) as shown:
        shown.observe(some[0], "begun")
        shown.watch(run_at(1))
        time.time += LogScreen.every
        shown.watch(run_at(5))
        shown.watch(run_at(6))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["0/3 done; the first steps of digits:a with sgd, replicate 0, 5%"]


def test_what_workers_train_is_named_without_a_percentage(time: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    some = steps(3)
    with view(some) as shown:
        shown.observe(some[0], "begun")
        time.time += LogScreen.every
        shown.observe(some[1], "begun")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["0/3 done; the first steps of digits:a with sgd, replicate 0 and 1 more"]


def test_a_log_has_a_line_for_a_phase_that_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def heard(words: str) -> str:
        """What was told from there on, once the timer of the last phase rang."""
        printed: list[str] = []
        with phase(words):
            until(lambda: printed.append(capsys.readouterr().err) or words in "".join(printed), words)
        return "".join(printed)

    with telling(quiet=False), phase("planning"):
        pass
    assert capsys.readouterr().err == "", "a mistake that is found at once is a script's only line"
    monkeypatch.setattr(status, "LONG", 0.0)
    with telling(quiet=False):
        assert heard("planning") == "planning ...\n"
        with phase("planning"):
            assert heard("reading digits") == "reading digits ...\n"
    before = {*enumerate_threads()}  # a timer that was called off may take a while to end
    with telling(quiet=True), phase("planning"):
        more = {*enumerate_threads()} - before
        assert not [thread for thread in more if isinstance(thread, Timer)], "nothing could be told"
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_phase_while_it_lasts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    with telling(quiet=False), phase("planning"):
        assert "planning ..." in capsys.readouterr().err
        with phase("reading digits"):
            pass
    assert capsys.readouterr().err.endswith("\x1b[2K"), "the line is gone"


def test_each_level_is_told_in_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = oneticket_cli(f"{FIND} --out a", capsys)
    assert code == 0, err
    printed = err.splitlines()
    assert any(line.startswith("digits: 10 classes.") for line in printed), err
    score, time = r"\d+\.\d %", r"[\d.]+ (s|min)"
    levels = [line for line in printed if line.startswith("level ")]
    assert len(levels) == 3
    assert re.fullmatch(rf"level 0 · 100 % · accuracy {score} · {time}", levels[0])
    assert re.fullmatch(rf"level 2 · 64 % · accuracy {score} \(dense {score}\) · {time}", levels[2])
    code, _, err = oneticket_cli(f"{FIND.replace('--levels 2', '--levels 3')} --out a", capsys)
    (line,) = [line for line in err.splitlines() if line.startswith("level ")]
    assert re.match(rf"level 3 · 51 % · accuracy {score} \(dense {score}\)", line), (
        "the dense network's score is reused"
    )
    code, _, err = oneticket_cli("transfer a --data digits:b --levels 2 --controls reinit", capsys)
    assert code == 0, err
    lines = [line.split(" · ")[0] for line in err.splitlines() if " · " in line]
    assert sorted(lines) == ["dense", "reinit", "ticket"]
    code, _, err = oneticket_cli(f"{FIND} --replicates 2 --out b --store other", capsys)
    assert code == 0
    assert sum(line.startswith("replicate 1 · level ") for line in err.splitlines()) == 3
    assert oneticket_cli(f"{FIND} --out c --store third --quiet", capsys)[1:] == ("", "")


LINES = """
levels = [1]
arms = ["dense", "ticket", "own", "own-reinit", "reinit"]
replicates = 1
rewind = "1it"
training = {budget = "3it", batch = 32}
models = {net = {name = "mlp", widths = [8]}}
optimizers = {sgd = "sgd"}
sets = {a = {data = {name = "digits:a", per_class = 5}}, b = {data = {name = "digits:b", per_class = 5}}}
parts = {p = {sources = ["a"], targets = ["b"]}}
"""


def test_each_training_of_a_study_is_a_line_with_its_arm_and_its_place(folder: Path, capsys: Any) -> None:
    Path("mine.toml").write_text(LINES)
    code, _, err = oneticket_cli("study mine.toml --engine inline", capsys)
    assert code == 0, err
    lines = [line for line in err.splitlines() if " · " in line]
    scored = re.compile(r"(.+) · accuracy \d+\.\d %( \(dense \d+\.\d %\))? · \d+ s")
    printed = [found[1] for found in map(scored.fullmatch, lines) if found]
    assert len(printed) == len(lines), "percent, as in tables"
    assert sorted(printed) == sorted(
        [
            *("a · level 0 · 100 %", "b · level 0 · 100 %", "b · dense · 100 %"),
            *("a to b · ticket · level 1 · 80 %", "a to b · reinit · level 1 · 80 %"),
            *("b · own · level 1 · 80 %", "b · own-reinit · level 1 · 80 %"),
        ]
    )
    assert not any(" · " in line for line in oneticket_cli("study mine.toml --engine inline", capsys)[2].splitlines())


def test_what_stands_for_another_arm_is_called_by_its_own(folder: Path, capsys: Any) -> None:
    assert oneticket_cli(f"{FIND} --per-class 5 --out book --quiet", capsys)[0] == 0
    words = "transfer book --data digits:b --per-class 5 --levels 1 --controls own,own-reinit,reinit --budget 3it"
    code, _, err = oneticket_cli(words, capsys)
    assert code == 0, err
    printed = {line.partition(" · ")[0] for line in err.splitlines() if " · level 1 · " in line}
    assert printed == {"ticket", "own", "own-reinit", "reinit"}
