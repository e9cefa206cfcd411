"""Studies on the command line: foreseen, run, extended, looked at, reported, cleared up; and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import numpy
import pandas
import pytest
from commands import oneticket_cli
from PIL import Image

from oneticket.lottery.run_context import RunContext
from oneticket.report.export import join_rows
from oneticket.study.resolve import plan_of

STUDY = """
title = "Halves of the digits"
levels = [1, 2]
arms = ["dense", "ticket", "reinit", "global-random"]
replicates = 2
rewind = "2it"
claims = ["C2"]
[training]
budget = "6it"
batch = 32
[models]
net = {name = "mlp", widths = [12]}
[optimizers]
sgd = "sgd"
[sets]
a = {data = {name = "digits:a", per_class = 10}}
b = {data = {name = "digits:b", per_class = 10}}
[parts.halves]
sources = ["a"]
targets = ["b"]
"""
STEPS, CELLS = 2 * (1 + 2 + 1 + 2 + 2 + 2), 2 * (1 + 2 + 2 + 2)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "mine.toml").write_text(STUDY)


def test_a_study_from_the_dry_run_to_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = oneticket_cli("study mine.toml --dry-run --measure --engine inline --price 3", capsys)
    assert code == 0, err
    assert f"halves {CELLS} {STEPS}" in " ".join(out.split())
    assert "in this process: about" in out and "at 3 an hour" in out
    assert err.count("digits: 10 classes. Training: 1,437 images from the rest of its images.") == 1
    assert not Path(".oneticket").exists()

    code, out, err = oneticket_cli("study mine.toml --engine inline", capsys)
    assert code == 0, err
    assert f"{STEPS} steps done" in err and "0 reused" in err
    assert "`oneticket report mine.toml --out report` writes its report" in out
    code, _, err = oneticket_cli("study mine.toml --engine inline", capsys)
    assert (code, "0 steps done" in err, f"{STEPS} reused" in err) == (0, True, True)

    Path("more.toml").write_text('include = "mine.toml"\nreplicates = 3\n')
    code, out, _ = oneticket_cli("status more.toml", capsys)
    assert (code, f"all {CELLS * 3 // 2} {STEPS * 3 // 2} {STEPS} 0 0 {STEPS // 2}" in " ".join(out.split())) == (
        0,
        True,
    )
    code, out, _ = oneticket_cli("report more.toml --out early", capsys)
    assert code == 0
    assert f"{CELLS // 2} of {CELLS * 3 // 2} cells are not trained yet" in out
    assert len(pandas.read_csv("early/missing.csv")) == CELLS // 2

    code, out, _ = oneticket_cli("report mine.toml --out report", capsys)
    assert code == 0
    assert "C2: " in out and "report.html" in out
    assert "As they were read: digits: 10 classes. Training: 1,437 images" in Path("report/report.md").read_text()
    rows = pandas.read_csv("report/rows.csv")
    assert len(rows) == len(pandas.read_parquet("report/rows.parquet")) == CELLS
    assert set(rows["source_data"].dropna()) == {"a"} and set(rows["model"]) == {"net"}
    first = {path: path.read_bytes() for path in Path("report").rglob("*") if path.is_file()}
    oneticket_cli("report mine.toml --out report", capsys)
    assert {path: path.read_bytes() for path in Path("report").rglob("*") if path.is_file()} == first


def test_a_study_divided_between_stores_comes_together(capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.toml").write_text('include = "mine.toml"\nreplicates = 4\n')
    code, out, _ = oneticket_cli("study more.toml --engine inline --replicates 1-2 --dry-run", capsys)
    assert (code, f"all {CELLS} {STEPS}" in " ".join(out.split())) == (0, True)
    for some, store in (("1-2", "here"), ("0,3", "there")):
        words = f"study more.toml --engine inline --quiet --replicates {some} --store {store}"
        assert oneticket_cli(words, capsys)[0] == 0
        code, out, _ = oneticket_cli(f"status more.toml --store {store}", capsys)
        assert f"all {CELLS * 2} {STEPS * 2} {STEPS} 0 0 {STEPS}" in " ".join(out.split())
        assert oneticket_cli(f"report more.toml --store {store} --out {store}-report", capsys)[0] == 0
    missing = pandas.read_csv("here-report/missing.csv")
    assert (len(missing), set(missing["replicate"])) == (CELLS, {0, 3})
    joined = join_rows([Path("here-report/rows.csv"), Path("there-report/rows.parquet")])
    shutil.copytree("there", "here", dirs_exist_ok=True)
    code, out, err = oneticket_cli("report more.toml --store here --out whole", capsys)
    assert (code, "not trained yet" in out, "design" in err) == (0, False, False), err
    whole = pandas.read_csv("whole/rows.csv")
    assert set(whole["key"]) == {row["key"] for row in joined} and len(whole) == len(joined) == 2 * CELLS
    assert oneticket_cli("store verify --store here", capsys)[0] == 0


PRESSED = """
import signal
from torch import nn

class Pressed(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = nn.Linear(64, 8), nn.Linear(8, classes)

    def forward(self, images):
        if self.training:
            signal.raise_signal(signal.SIGINT)
        return self.head(self.body(images.flatten(1)).relu())

def make(*, shape, classes):
    return Pressed(classes)
"""


def test_a_dry_run_ends_at_the_first_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pressed.py").write_text(PRESSED)
    Path("pressed.toml").write_text(STUDY.replace('{name = "mlp", widths = [12]}', '"pressed.py:make"'))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background ignores it
    try:
        code, out, err = oneticket_cli("study pressed.toml --dry-run --measure --engine inline", capsys)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, out) == (130, ""), err
    assert err.splitlines()[-1] == "oneticket: interrupted; run the same command to go on"
    assert not Path(".oneticket").exists()


def test_sets_that_count_as_published_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what looks at a study before its first run; once they were read, the real ones count."""
    draw = numpy.random.default_rng(0)
    for part in ("train", "test"):
        for label in range(10):
            (tmp_path / "data" / "mnist" / part / str(label)).mkdir(parents=True)
            pixels = draw.integers(0, 256, (28, 28), dtype=numpy.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / "mnist" / part / str(label) / "0.png")
    Path("mine.toml").write_text(STUDY.replace("digits:b", "mnist").replace("per_class = 10", "per_class = 1"))
    looks = ("status mine.toml", "study mine.toml --dry-run")

    def printed(line: str) -> list[str]:
        return [line in oneticket_cli(command, capsys)[1] for command in looks]

    def said(name: str) -> list[list[str]]:
        return [json.loads(oneticket_cli(f"{command} --json", capsys)[1])[name] for command in looks]

    not_read, absent = "not read yet, and counted as published: mnist", "not available, and counted as published: mnist"
    monkeypatch.setenv("ONETICKET_DATA", str(tmp_path / "data"))
    assert (
        printed(not_read) == [True, True] and printed(absent) == [False, False] and said("not_read") == [["mnist"]] * 2
    )
    monkeypatch.setenv("ONETICKET_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert printed(absent) == [True, True] and printed(not_read) == [False, False] and said("absent") == [["mnist"]] * 2
    monkeypatch.setenv("ONETICKET_DATA", str(tmp_path / "data"))
    plan_of("mine.toml", RunContext())  # as a run does
    assert printed("counted as published") == [False, False] and said("not_read") == said("absent") == [[], []]


def test_the_store_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert oneticket_cli("study mine.toml --engine inline --quiet", capsys)[0] == 0
    code, out, _ = oneticket_cli("store ls", capsys)
    assert code == 0 and f"{STEPS} entries" in out
    code, out, _ = oneticket_cli("store ls --kind rewind", capsys)
    assert code == 0 and "2 entries" in out
    damaged = next(path for path in sorted(Path(".oneticket").rglob("*.safetensors")))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    code, out, _ = oneticket_cli(f"store show {damaged.stem[:10]}", capsys)
    assert code == 0 and damaged.stem in out and "seconds" in out
    code, out, _ = oneticket_cli("store verify", capsys)
    assert code == 1 and f"{STEPS - 1} entries are good, 1 damaged" in out
    code, _, err = oneticket_cli("study mine.toml --engine inline", capsys)
    assert code == 0 and "1 step done" in err and f"{STEPS - 1} reused" in err
    assert oneticket_cli("store verify", capsys)[0] == 0
    code, out, _ = oneticket_cli("store gc --dry-run", capsys)
    assert code == 0 and "damaged, and set aside" in out
    Path("less.toml").write_text('include = "mine.toml"\nreplicates = 1\n')
    code, out, _ = oneticket_cli("store gc --keep less.toml", capsys)
    assert code == 0
    code, out, _ = oneticket_cli("store ls", capsys)
    assert f"{STEPS // 2} entries" in out


def test_what_a_study_finds_find_need_not_find_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text('subsets = "fixed"\n' + STUDY)  # as `find`; else each replicate has its own examples
    assert oneticket_cli("study mine.toml --engine inline --quiet", capsys)[0] == 0
    Path("find.toml").write_text(
        'levels = 2\nreplicates = 2\n[search]\ndata = {name = "digits:a", per_class = 10}\n'
        'model = {name = "mlp", widths = [12]}\nrewind = "2it"\n[search.training]\nbudget = "6it"\nbatch = 32\n'
    )
    code, _, err = oneticket_cli("find --spec find.toml --out found", capsys)
    assert code == 0, err
    assert "2 steps done" in err and "6 reused" in err, "only level 2 is new, which no cell of the study needed"
    transfer = "transfer found --data digits:b --per-class 10 --controls reinit,global-random"
    code, _, err = oneticket_cli(transfer, capsys)
    assert code == 0, err
    assert "6 reused" in err, "a dense network and a global random ticket are the same wherever a ticket comes from"


def test_a_search_and_a_study_reuse_each_others_draws(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--widths 12 --rewind 2it --budget 6it --batch 32 --levels 2 --replicates 2 --subsets replicate --quiet"
    find = f"find --data digits:a --per-class 10 --model mlp {words} --out found"
    assert oneticket_cli(find, capsys)[0] == 0
    code, _, err = oneticket_cli("study mine.toml --engine inline", capsys)
    assert (code, f"{STEPS - 6} steps done" in err, "6 reused" in err) == (0, True, True), err
    transfer = "transfer found --data digits:b --per-class 10 --subsets replicate --controls reinit,global-random,own"
    code, out, err = oneticket_cli(f"{transfer} --rows rows.csv", capsys)
    assert code == 0 and "6 reused" in err, err
    rows = pandas.read_csv("rows.csv")
    assert set(rows["source_data"].dropna()) == {"digits:a(per_class=10)", "digits:b(per_class=10)"}
    assert set(rows["target_data"]) == {"digits:b(per_class=10)"} and set(rows["replicate"]) == {0, 1}
    assert out.count("n = 2") and oneticket_cli(find, capsys)[0] == 0, "the folder is this search's"
    code, _, err = oneticket_cli(find.replace("--subsets replicate", "--subsets fixed"), capsys)
    assert (code, "holds the books of another search" in err) == (2, True), err


def test_trackers_are_fed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard", reason="the tracker's package is not installed")
    code, _, err = oneticket_cli("study mine.toml --engine inline --quiet --track tensorboard:logs", capsys)
    assert code == 0, err
    trained = STEPS - 2
    assert len({path.parent for path in Path("logs").rglob("events*")}) >= trained
    code, _, err = oneticket_cli("study mine.toml --track pen:paper", capsys)
    assert code == 2 and "unknown tracker 'pen'" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STUDY.replace('"reinit"', '"reinitt"'), "arms.2: unknown arm 'reinitt'; did you mean 'reinit'?"),
        (STUDY.replace("levels = [1, 2]", "levels = [1, 101]"), "levels.1: input should be less than or equal to 100"),
        (STUDY.replace('targets = ["b"]', 'targets = ["bb"]'), "unknown set 'bb'; did you mean 'b'"),
        ('include = "mine.toml"\n' + STUDY, "includes itself"),
        (STUDY + "replicats = 3\n", "parts.halves: unknown field 'replicats'; did you mean 'replicates'"),
        (STUDY + "x = [\n", "not a TOML file"),
    ],
)
def test_mistakes_in_a_study_are_told_before_anything_runs(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.toml").write_text(text)
    code, _, err = oneticket_cli("study mine.toml", capsys)
    assert (code, said in err, "mine.toml" in err) == (2, True, True), err
    assert not Path(".oneticket").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("study nothing.toml", "no such file; expected a study file (.toml); or one that is shipped: crossing, demo"),
        ("study mine.toml --engine inline --ranks 2", "takes no address and no ranks; use --engine ray"),
        ("study mine.toml --price 2", "--price: goes with --dry-run"),
        ("study mine.toml --replicates 1-3", "--replicates: mine has the replicates 0 to 1, got 2"),
        ("study mine.toml --replicates 3-1", "--replicates: expected replicates such as 6-9 or 0,3, got '3-1'"),
        ("study mine.toml --replicates two", "--replicates: expected replicates such as 6-9 or 0,3, got 'two'"),
        ("study mine.toml --engine inline --store s4://x", "s4"),
        ("store show 00", "--store .oneticket: there is no such folder"),
        ("store ls --kind lvel", "unknown kind 'lvel'; did you mean 'level'"),
    ],
)
def test_mistakes_in_a_request(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = oneticket_cli(words, capsys)
    assert code in (1, 2) and said in err, err


def test_a_selection_that_a_set_has_not_is_a_mistake_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    for change in ("per_class = 1000", "per_class = 10, classes_from = 11"):
        Path("mine.toml").write_text(STUDY.replace("per_class = 10", change, 1))
        for words in ("study mine.toml --dry-run", "study mine.toml", "status mine.toml"):
            code, _, err = oneticket_cli(words, capsys)
            assert (code, re.search(r"mine.toml:\d+: parts.halves, set a: ", err) is not None) == (2, True), err
    code, _, err = oneticket_cli("find --data digits --per-class 1000 --model mlp --out found", capsys)
    assert (code, "per_class=1000: class 0 has only" in err) == (2, True), err
    Path("mine.toml").write_text(STUDY.replace('"digits:a"', '"./nowhere"'))
    code, _, err = oneticket_cli("study mine.toml", capsys)
    assert (code, "parts.halves, set a: dataset './nowhere' not found" in err) == (2, True), err


def test_a_store_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("not a folder")
    code, _, err = oneticket_cli("study mine.toml --engine inline --store file", capsys)
    assert code == 1 and "cannot" in err
    assert Path("file").read_text() == "not a folder"


def test_data_that_changed_under_a_study_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    images = numpy.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=numpy.uint8)
    parts = {"y_train": numpy.arange(60) % 3, "x_test": images, "y_test": numpy.arange(60) % 3}
    numpy.savez("mine.npz", x_train=images, **parts)
    text = STUDY.replace('"digits:a", per_class = 10', '"./mine.npz"').replace(
        '"digits:b", per_class = 10', '"./mine.npz"'
    )
    Path("mine.toml").write_text(text.replace('b = {data = {name = "./mine.npz"}}', "").replace('["b"]', '["a"]'))
    assert oneticket_cli("study mine.toml --engine inline --quiet", capsys)[0] == 0
    numpy.savez("mine.npz", x_train=images ^ 1, **parts)
    for command in ("status mine.toml", "study mine.toml --engine inline --quiet"):
        code, _, err = oneticket_cli(command, capsys)
        assert code == 0 and "./mine.npz is not what it was: digest" in err and "done anew" in err
    assert "is not what it was" not in oneticket_cli("status mine.toml", capsys)[2]


def test_failures_are_remembered_until_they_are_mended(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text(STUDY.replace('sgd = "sgd"', 'sgd = {name = "sgd", lr = 1e30, momentum = 0}'))
    code, _, err = oneticket_cli("study mine.toml --engine inline --quiet", capsys)
    assert code == 1 and "try a lower --lr" in err
    code, out, _ = oneticket_cli("status mine.toml", capsys)
    assert code == 0 and "failed: " in out and "try a lower --lr" in out
    assert json.loads(next(Path(".oneticket").rglob("*.failed.json")).read_text())["value"]["text"]


STOPPED = PRESSED.replace("SIGINT", "{signal}").replace(
    "        if self.training:\n",
    "        if self.training and Path('asked').exists() and not Path('asked').unlink():\n",
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_asked_to_stop_a_study_writes_a_checkpoint_and_goes_on(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pressed.py").write_text("from pathlib import Path\n" + STOPPED.replace("{signal}", name))
    Path("pressed.toml").write_text(STUDY.replace('{name = "mlp", widths = [12]}', '"pressed.py:make"'))
    straight, words = (
        "study pressed.toml --engine inline --quiet --store straight",
        "study pressed.toml --engine inline",
    )
    assert oneticket_cli(straight, capsys)[0] == 0
    Path("asked").touch()
    code, _, err = oneticket_cli(words, capsys)
    assert (code, err.splitlines()[-1]) == (130, "oneticket: interrupted; run the same command to go on")
    assert "stopping after this step; Ctrl-C again stops at once" in err.splitlines()
    assert len([*Path(".oneticket").rglob("under-way/*.safetensors")]) == 1
    assert oneticket_cli(words, capsys)[0] == 0
    one, other = (
        {path.name: path.read_bytes() for path in Path(root).rglob("*.safetensors")}
        for root in ("straight", ".oneticket")
    )
    assert one == other and len(one) == STEPS
