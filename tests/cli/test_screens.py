"""Screens of 80 columns, JSON for other programs, and the commands that start things off."""

from __future__ import annotations

import json
import os
import re
import subprocess
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from commands import oneticket_cli

from oneticket.cli.tables import GAP, blocks, print_facts, print_table
from oneticket.report.export import read_rows
from oneticket.session.terminal import drawn, paragraph, say, tell
from oneticket.stats.report_table import ReportTable
from oneticket.stats.scores import scores
from oneticket.study.file import read_study
from oneticket.ticket.book import Book

FIND = "find --data digits:a --model mlp --widths 8 --levels 2 --budget 4it --rewind 1it --quiet"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def _a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What was printed, without colours and lines that were taken away again."""
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", each) for each in capsys.readouterr()]
    return shown[0], re.sub(r"^.*\r", "", shown[1], flags=re.M)


def test_what_is_piped_is_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    """Other programs read them: nothing is padded or broken, whatever COLUMNS says."""
    words, caption = "x" * 200, "word " * 40
    print_table(ReportTable(title="t", header=("a", "b"), rows=((words, "1"), ("tab\t", "")), caption=caption))
    print_facts([("name", words), ("  inner", "")])
    say(caption)
    paragraph(caption)
    ends = caption.rstrip()
    lines = ["t", "a\tb", f"{words}\t1", "tab\\t", ends, "", f"name\t{words}", "  inner", caption, caption]
    assert capsys.readouterr().out.split("\n") == [*lines, ""]


@pytest.mark.usefixtures("_a_terminal")
def test_scores_of_a_ticket_are_printed_as_on_its_card_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    arm = re.compile(r"^ (dense|ticket |the target's own|new weights,|layerwise) .*\d|ticket better by")
    shown = []
    for words in ("zoo digits-a", "show digits-a"):
        code, out, err = oneticket_cli(words, capsys)
        assert code == 0, err
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out).splitlines()
        shown.append([line for line in lines if arm.search(line)])
    assert shown[0] == shown[1] and len(shown[0]) == 4 * (1 + 5)


@pytest.mark.parametrize("words", ["show digits-a", "store show {key} --store kept", "store ls --store kept", "zoo"])
def test_what_a_command_pipes_has_no_padding(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "kept" in words:
        assert oneticket_cli(f"{FIND} --out a --store kept", capsys)[0] == 0
        words = words.format(key=read("store ls --store kept --json", capsys)[0]["key"])
    code, out, _ = oneticket_cli(words, capsys)
    assert code == 0 and "\t" in out
    assert not [line for line in out.splitlines() if line != line.rstrip() or re.search("  .*\t|\t.*  ", line[2:])]


def test_a_consensus_says_what_its_searches_keep_and_shows_no_scores(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("--out a", "--out b --optimizer adam"):
        assert oneticket_cli(f"{FIND} {words}", capsys)[0] == 0
    code, out, err = oneticket_cli("consensus a b --out both", capsys)
    assert code == 0, err
    assert re.search(r": level 2: 64 % remain; both searches keep \d+ % of them$", out, re.M)
    assert "Scores of the search" in oneticket_cli("show a", capsys)[1]
    assert "Scores of the search" not in oneticket_cli("show both", capsys)[1]


def table(*widths: int) -> ReportTable:
    header = tuple(f"c{number}" for number in range(len(widths)))
    return ReportTable(title="A table", header=header, rows=(tuple("x" * width for width in widths),), caption="Cells.")


@pytest.mark.usefixtures("_a_terminal")
@pytest.mark.parametrize("widths", [(27, 13, 13, 13, 13, 13), (44, 13, 13), (5, 5), (20, 22, 22, 22), (80, 3)])
def test_a_table_is_broken_between_columns(widths: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> None:
    wide = table(*widths)
    made = blocks([wide.header, *wide.rows], 80)
    assert sorted({number for block in made for number in block}) == list(range(len(widths)))
    assert all(0 in block and (len(block) <= 2 or sum(block.values()) + GAP * len(block) <= 80) for block in made)
    assert all(width == widths[number] for block in made for number, width in block.items())
    if widths[0] < 60:
        print_table(table(*widths))
        out, _ = printed(capsys)
        assert max(map(len, out.splitlines())) <= 80
        assert all(f" {'x' * width} " in out for width in widths), "no cell is split"


@pytest.mark.usefixtures("_a_terminal")
def test_long_words_are_broken_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    words = "ticket at level 7 on fashion_mnist(per_class=20) with sgd, replicate 1, and so on"
    print_table(ReportTable(title="t", header=("entry", "what", "size"), rows=(("a" * 12, words, "1 kB"),), caption=""))
    out, _ = printed(capsys)
    assert max(map(len, out.splitlines())) <= 80
    assert set(words.split()) <= set(out.split())


SAID = {
    "finde": 2,
    "store clear": 2,
    "find --learning-rate 1": 2,
    "find --data digts --model lenet-300-10 --out o": 2,
    "transfer digits-a --data digits:b --controls renit": 2,
    "export digits-a level=3": 2,
    "show nope": 2,
    "show digits-a": 0,
    "verify digits-a": 0,
    "zoo digits-a": 0,
    "zoo --for digits:b": 0,
}


@pytest.mark.parametrize("words", SAID)
def test_no_line_is_longer_than_the_terminal_and_no_word_is_split(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, *piped = oneticket_cli(words, capsys)
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    again, *shown = oneticket_cli(words, capsys)
    assert code == again == SAID[words]
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", each) for each in shown]
    shown[1] = re.sub(r"^.*\r", "", shown[1], flags=re.M)
    assert max(len(line) for each in shown for line in each.splitlines()) <= 80
    for whole, broken_up in zip(piped, shown, strict=True):
        assert {*whole.replace("|", " ").split()} - {"---"} <= {*broken_up.split()}


def test_what_is_printed_takes_away_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    with drawn(lambda: asked.append("away")):
        say("a line")
        tell("another")
    say("a third")
    assert (len(asked), capsys.readouterr()) == (2, ("a line\na third\n", "another\n"))


def test_a_mistake_tells_the_unknown_flag_and_all_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = oneticket_cli("find --learning-rate 1 --levels 3", capsys)
    assert (code, "did you mean --lr?" in err, "find needs --out, --data, and --model" in err) == (2, True, True)
    code, _, err = oneticket_cli("finde", capsys)
    assert (code, "unknown command 'finde'; did you mean find?" in err) == (2, True)
    code, _, err = oneticket_cli("export digits-a level=3", capsys)
    assert (code, "did you mean --level 3?" in err) == (2, True)


def read(words: str, capsys: pytest.CaptureFixture[str], *, status: int = 0) -> Any:
    code, out, err = oneticket_cli(words, capsys)
    assert code == status, err
    return json.loads(out)


def test_json_for_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert oneticket_cli(f"{FIND} --out a", capsys)[0] == 0
    book = Book.load("a")
    (shown,) = read("show a --json", capsys)
    assert (shown["id"], shown["kind"], shown["model"]["spec"]["name"]) == (book.id, "book", "mlp")
    assert [level["remaining"] for level in shown["levels"]] == [one.remaining for one in book.weight_counts]
    assert sum(layer["remaining"] for layer in shown["layers"].values()) == book[2].mask.remaining
    assert [record["level"] for record in shown["records"]] == [0, 1, 2]
    (proven,) = read("verify a --json", capsys)
    assert (proven["id"], proven["levels"]) == (book.id, 2)
    kept = read("store ls --json", capsys)
    assert [each["kind"] for each in kept] == ["level"] * 3 + ["rewind"]
    assert read("store verify --json", capsys)["good"] == 4
    damaged = next(path for path in Path(".oneticket").rglob("*.safetensors") if path.stem == kept[0]["key"])
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert list(read("store verify --json", capsys, status=1)["damaged"]) == [kept[0]["key"]]
    assert {"digits-a", "resnet-20-cifar10"} <= {entry["name"] for entry in read("zoo --json", capsys)}
    costs = read("export digits-a --rounds 1 --json", capsys)
    assert {"dense", "csr"} <= {form["form"] for form in costs["forms"]} and costs["sentence"]


def test_a_new_study_file_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = oneticket_cli("init mine.toml", capsys)
    assert (code, "oneticket study mine.toml --dry-run" in out) == (0, True)
    assert read_study(Path("mine.toml")).claims == ("C2",)
    before = Path("mine.toml").read_bytes()
    code, _, err = oneticket_cli("init mine.toml", capsys)
    assert (code, "exists already" in err, Path("mine.toml").read_bytes()) == (2, True, before)
    assert oneticket_cli("init mine.txt", capsys)[0] == 2
    asked = 'include = "mine.toml"\nreplicates = 1\nlevels = [1]\nrewind = "1it"\ntraining = {budget = "3it"}\n'
    Path("short.toml").write_text(asked)
    foreseen = read("study short.toml --dry-run --json --engine inline", capsys)
    assert foreseen["parts"][-1]["to_do"] == foreseen["parts"][-1]["steps"] > 0
    code, _, err = oneticket_cli("study short.toml --engine inline --quiet", capsys)
    assert code == 0, err
    state = read("status short.toml --json", capsys)
    assert (state["parts"][-1]["to do"], state["parts"][-1]["done"]) == (0, foreseen["parts"][-1]["steps"])
    assert oneticket_cli("study short.toml --json", capsys)[0] == 2


def test_a_report_is_opened_but_not_by_a_text_browser(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One would take the terminal, and wait for its user."""
    page = Path("report/report.html").resolve().as_uri()
    assert oneticket_cli("init", capsys)[0] == 0
    _browser("lynx", monkeypatch, TERM="xterm")
    assert webbrowser.get().basename == "lynx", "Python itself would open it"
    code, _, err = oneticket_cli("report study.toml --out report --open", capsys)
    assert (code, f"no browser with windows was found, so none was opened; open {page} yourself" in err) == (0, True)
    assert not Path("opened").exists()
    _browser("mine", monkeypatch, BROWSER=str(Path("bin/mine").resolve()))
    code, _, err = oneticket_cli("report study.toml --out report --open", capsys)
    assert (code, Path("opened").read_text().split(), page in err) == (0, [page], False)


def _browser(name: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """The only browser there is: a command of that name, which writes what it opens into the file `opened`."""
    Path("bin").mkdir(exist_ok=True)
    Path("bin", name).write_text('#!/bin/sh\necho "$1" >> opened\n')
    Path("bin", name).chmod(0o755)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "TERM"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {**environment, "PATH": f"{Path('bin').resolve()}{os.pathsep}{os.defpath}"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # so that Python looks for browsers again
    monkeypatch.setattr(webbrowser, "_browsers", {})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = oneticket_cli(f"completion {shell}", capsys)
    assert code == 0
    assert all(word in out for word in ("transfer", "weight-decay", "completion"))
    if shell == "bash":
        done = subprocess.run(["bash", "-n"], input=out, text=True, capture_output=True, env={**os.environ})
        assert (done.returncode, done.stderr) == (0, "")


def test_scores_take_the_rows_of_the_ticket_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert oneticket_cli(f"{FIND} --out a", capsys)[0] == 0
    ticket = Book.load("a")[2]
    ticket.save("ticket.safetensors")
    words = "--data digits:b --controls reinit,global-random --budget 2it --quiet --rows"
    assert oneticket_cli(f"transfer ticket.safetensors {words} own.csv", capsys)[0] == 0
    assert oneticket_cli(f"transfer a {words} all.csv --levels 1,2", capsys)[0] == 0
    own, others = read_rows(Path("own.csv")), [row for row in read_rows(Path("all.csv")) if row["level"] == 1]
    assert others
    expected = scores(ticket, own)
    assert scores(ticket, [*own, *others]) == expected
    assert [each["arm"] for each in expected] == ["dense", "ticket", "reinit", "global-random"]
