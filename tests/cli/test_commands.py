"""The command line as a user meets it: the documented examples, the files they leave, the exit codes, the mistakes."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas
import pytest
import torch
from commands import oneticket_cli
from waiting import FOREVER, until

import oneticket
from oneticket.cli import studies
from oneticket.cli.flags import flags
from oneticket.cli.parameters import How
from oneticket.study.spec import ComparisonSpec, FindSpec
from oneticket.ticket.names import book_file

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
FIND = "find --data digits:a --model lenet-300-100 --optimizer sgd --levels 3 --replicates 2 --budget 1ep --rewind 3it"
REQUIRED = (
    "arm, model, source_data, source_optimizer, target_data, target_optimizer, "
    "level, density, replicate, accuracy, loss, seconds"
)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def test_find_show_verify_transfer(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = oneticket_cli(f"{FIND} --out half-a", capsys)
    assert code == 0, err
    assert "8 steps done" in err or "10 steps done" in err
    assert "digits: 10 classes. Training: 1,437 images from the rest of its images. Test: 360 images from" in err
    assert "digits:a: 719 of 1,437 images" in err.splitlines()
    assert "dense" in out and "ticket from digits:a (sgd)" in out
    code, _, err = oneticket_cli(f"{FIND} --out half-a", capsys)
    assert (code, "0 steps done" in err, "10 reused" in err) == (0, True, True)

    code, out, _ = oneticket_cli("show half-a", capsys)
    assert code == 0
    for said in (
        "lenet-300-100",
        "digits:a",
        "rewind",
        "3it (step 3)",
        "fresh",
        "fc1.weight",
        "51 %",
        "steps",
        "n = 2",
    ):
        assert said in out, said
    code, out, _ = oneticket_cli("verify half-a", capsys)
    assert (code, out.count(": good.")) == (0, 2)

    code, out, err = oneticket_cli(
        "transfer half-a --data digits:b --optimizer adam --controls reinit,global-random,own --levels 1,3 "
        "--rows rows.csv",
        capsys,
    )
    assert code == 0, err
    rows = pandas.read_csv("rows.csv")
    assert set(REQUIRED.split(", ")) <= set(rows.columns)
    assert len(rows) == 2 * (1 + 4 * 2)
    assert set(rows.arm) == {"dense", "ticket", "reinit", "global-random", "own"}
    assert set(rows.target_optimizer) == {"adam"} and set(rows.target_data) == {"digits:b"}
    assert set(rows[rows.arm == "ticket"].source_optimizer) == {"sgd"}
    assert set(rows[rows.arm == "own"].source_data) == {"digits:b"}
    assert (rows.start + rows.steps).nunique() == 1, "all arms have one budget"
    assert set(rows[rows.arm == "own"].start) == {3} and set(rows[rows.arm != "own"].start) == {0}

    book = oneticket.Book.load("half-a", replicate=1)
    ticket = oneticket.Ticket.load("half-a", density=0.5)
    ticket.save("one.safetensors")
    assert len(book) == 4
    code, out, _ = oneticket_cli("show one.safetensors", capsys)
    assert (code, "51 %" in out) == (0, True)
    code, out, _ = oneticket_cli("verify one.safetensors", capsys)
    assert (code, "good. ticket" in out) == (0, True)


def test_rows_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    read = {"csv": pandas.read_csv, "json": pandas.read_json, "parquet": pandas.read_parquet}
    tables = {}
    for ending, reader in read.items():
        code, *_ = oneticket_cli(f"{FIND} --out a --rows r.{ending} --quiet", capsys)
        assert code == 0
        tables[ending] = reader(f"r.{ending}")
        assert len(tables[ending]) == 8
    assert list(tables["csv"].columns) == list(tables["json"].columns) == list(tables["parquet"].columns)
    assert tables["csv"].accuracy.tolist() == pytest.approx(tables["parquet"].accuracy.tolist())


def test_books_are_the_same_bytes_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("one", "two"):
        oneticket_cli(f"{FIND} --out {folder} --store {folder}-store --quiet", capsys)
    assert book_file("one", 1).read_bytes() == book_file("two", 1).read_bytes()


def test_settings_from_a_file_and_flags_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.toml").write_text(
        'levels = 1\n[search]\ndata = "digits:b"\nmodel = {name = "mlp", widths = [8]}\nrewind = "0it"\n'
        '[search.optimizer]\nname = "adam"\nlr = 0.01\n[search.training]\nbudget = "4it"\n'
    )
    code, _, err = oneticket_cli("find --spec s.toml --lr 0.02 --data digits:a --out a --quiet", capsys)
    assert code == 0, err
    search = oneticket.Book.load("a").lineage["search"]
    assert (search["optimizer"]["lr"], search["data"]["name"], search["model"]["widths"]) == (0.02, "digits:a", [8])
    code, _, err = oneticket_cli("find --spec s.toml --optimizer sgd --out b --quiet", capsys)
    assert oneticket.Book.load("b").lineage["search"]["optimizer"]["lr"] == 0.02, "another optimizer, its own settings"


MISTAKES = {
    "": (2, "--out"),
    "--out a": (2, "--data"),
    "--out a --data digit --model mlp": (2, "--data: unknown dataset 'digit'; did you mean 'digits'"),
    "--out a --data digits --model lenet": (2, "--model: unknown model 'lenet'; did you mean 'lenet-300-100'"),
    "--out a --data digits --model mlp --lr -1": (2, "--lr: input should be greater than 0, got -1"),
    "--out a --data digits --model mlp --lr fast": (2, "--lr: expected a number, got 'fast'"),
    "--out a --data digits --model mlp --rewind 3": (2, "--rewind: expected a time such as '2ep' (epochs)"),
    "--out a --data digits --model mlp --rewind 99ep": (2, "rewind earlier or train longer"),
    "--out a --data digits --model mlp --levels many": (2, "--levels: expected a whole number, got 'many'"),
    "--out a --data digits --model mlp --optimizer sdg": (
        2,
        "--optimizer: unknown optimizer 'sdg'; did you mean 'sgd'",
    ),
    "--out a --data digits --model mlp --optimizer adam --momentum 0.9": (2, "--momentum: does not apply to adam"),
    "--out a --data digits --model mlp --modell x": (2, "--modell"),
    "--out a --data digits --model mlp --rows /proc/none/r.csv": (2, "can be written to"),
    "--out a --data digits --model mlp --rows r.txt": (2, "unknown ending '.txt'"),
    "--out a --data diabetes --model mlp": (2, "diabetes: gives numbers, but the task asks for classes; set `--task r"),
    "--out a --data digits --model mlp --task regression": (2, "asks for numbers; set `--task classification`"),
    "--out a --data digits --model mlp --granularity channel": (
        2,
        "oneticket: `--granularity channel` needs `--scope layerwise`, got global: ",
    ),
    "--out a --data digits --model mlp --budget 1ep --rewind 2ep": (
        2,
        "oneticket: --rewind: 2ep is step 44, but `--budget 1ep` ends at step 22",
    ),
    "--out a --data digits --model mlp --optimizer adam --betas 0.9": (
        2,
        "--betas: expected 2 values, such as 0.9,0.999, got [0.9]",
    ),
    "--out a --data digits --model mlp --device tpu": (2, "--device: expected auto or an available one"),
    "--out a --data digits --model mlp --spec none.toml": (2, "none.toml: cannot be read"),
    "--spec none.toml": (2, "none.toml: cannot be read"),
    "--spec none.toml --modell x": (2, "unknown option --modell"),
    "--out a --data ./nowhere --model mlp": (2, "nowhere"),
    "--out /proc/nothing --data digits --model mlp": (1, "/proc/nothing"),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_told_and_leave_nothing(words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, expected = MISTAKES[words]
    came, out, err = oneticket_cli(f"find {words} --quiet" if words else "find --quiet", capsys)
    assert (came, out) == (code, "")
    assert expected in err
    assert "Traceback" not in err
    assert not [file for file in tmp_path.rglob("*.safetensors") if "cache" not in file.parts]


OTHERS = {
    "find --data ./no-label.csv --model mlp --out a": (2, "its columns are a, b; name it with `--label COLUMN`"),
    "find --data digits --model mlp --budget 1ep --spec s.toml --out a": (
        2,
        's.toml:2: search.pruning: `granularity = "channel"` needs `--scope layerwise`, got global',
    ),
    "find --data digits --model mlp --out no-label.csv": (2, "--out no-label.csv: is a file; `--out` names a folder"),
    "report demo --out no-label.csv": (2, "--out no-label.csv: is a file; `--out` names a folder"),
    "show no-label.csv": (2, "no-label.csv: a text file: not a ticket or book"),
    "show empty.safetensors": (1, "empty.safetensors: the file is empty"),
    "verify nope.safetensors": (2, "nothing there has a name near it"),
    "verify emty.safetensors": (2, "did you mean 'empty.safetensors'?"),
    "study folder": (2, "folder: is a folder; give the path of a study file (.toml)"),
    "transfer digits-a --data digits:b --controls none,reinit": (2, "--controls: unknown control 'none'"),
    "store ls --store nope": (2, "--store nope: there is no such folder"),
}


@pytest.mark.parametrize("words", OTHERS)
def test_a_mistake_names_the_options_and_says_what_to_do(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    Path("empty.safetensors").touch()
    Path("no-label.csv").write_text("a,b\n1,2\n3,4\n")
    Path("s.toml").write_text('[search]\npruning = {granularity = "channel"}\n')
    code, expected = OTHERS[words]
    came, out, err = oneticket_cli(words, capsys)
    assert (came, out) == (code, "") and expected in err, err


def test_a_missing_device_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    absent = [name for name, there in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if not there.is_available()]
    for name in absent:
        code, _, err = oneticket_cli(f"find --data digits --model mlp --out a --device {name}", capsys)
        assert code == 2 and re.search(f"(this PyTorch has no|no) {name.upper()}", err), err


def test_a_book_that_is_not_there_has_a_suggestion() -> None:
    with pytest.raises(oneticket.OneticketError, match="did you mean 'digits-a'"):
        oneticket.Book.load("digit-a")


def test_a_folder_of_another_search_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    oneticket_cli(f"{FIND} --out a --quiet", capsys)
    before = book_file("a", 0).read_bytes()
    code, _, err = oneticket_cli(f"{FIND} --lr 0.05 --out a --quiet", capsys)
    assert (code, "holds the books of another search" in err) == (2, True)
    assert book_file("a", 0).read_bytes() == before
    code, *_ = oneticket_cli(f"{FIND.replace('--levels 3', '--levels 4')} --out a --quiet", capsys)
    assert (code, len(oneticket.Book.load("a"))) == (0, 5), "going deeper is the same search"


def test_a_shallower_search_does_not_replace_a_deeper_one(capsys: pytest.CaptureFixture[str]) -> None:
    oneticket_cli(f"{FIND} --out a --quiet", capsys)
    for fewer in ("--levels 1", "--replicates 1"):
        words = re.sub(rf"{fewer.split()[0]} \d", fewer, FIND)
        code, _, err = oneticket_cli(f"{words} --out a --quiet", capsys)
        assert (code, "more than this command asks for" in err) == (2, True), err
    assert len(oneticket.Book.load("a", replicate=1)) == 4


def test_an_own_model_is_its_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(".")
    code = """
import torch
def net(classes):
    layers = torch.nn.Linear(64, {}), torch.nn.ReLU(), torch.nn.Linear({}, classes)
    return torch.nn.Sequential(torch.nn.Flatten(), *layers)
"""
    keys = set()
    for width in (8, 80):
        Path("mine_to_edit.py").write_text(code.format(width, width))
        sys.modules.pop("mine_to_edit", None)
        model = "--model mine_to_edit:net --levels 0 --budget 2it --rewind 0it"
        words = f"find --data digits {model} --out {width} --quiet"
        exit_code, _, err = oneticket_cli(words, capsys)
        assert exit_code == 0, err
        keys.add(pandas.read_csv(f"{width}/rows.csv").key[0])
    assert len(keys) == 2
    for words, status, expected in [
        ("", 2, "if you trust the source, allow it to run: --run-code"),
        ("--run-code", 0, ""),
    ]:
        asked = f"transfer 80 --data digits:b --levels 0 --controls none --budget 2it --quiet {words}"
        exit_code, _, err = oneticket_cli(asked, capsys)
        assert (exit_code, expected in err) == (status, True), err
    Path("wrong_shape.py").write_text(code.format(7, 8))
    exit_code, _, err = oneticket_cli("find --data digits --model wrong_shape:net --levels 0 --out w", capsys)
    assert (exit_code, "fails on images of shape (2, 1, 8, 8)" in err) == (1, True), err


def test_own_data_is_what_it_returns_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    code = """
from sklearn.datasets import load_wine
x, y = load_wine(return_X_y=True)
def data():
    return x[::2], y[::2], x[1::2], y[1::2]  # {}
"""
    keys = set()
    for words in ("as it was", "edited"):
        Path("mine.py").write_text(code.format(words))
        sys.modules.pop(f"oneticket_own_{Path('mine.py').resolve().as_posix()}", None)
        asked = "find --data mine.py:data:a --model mlp --levels 1 --budget 4it --rewind 0it --rows r.csv"
        exit_code, _, err = oneticket_cli(f"{asked} --out {words[:2]}", capsys)
        assert exit_code == 0, err
        assert "mine.py:data: vectors of 13 numbers, 3 classes" in " ".join(err.split())
        rows = pandas.read_csv("r.csv")
        assert set(rows.source_name) == {"mine.py:data:a"} and set(rows.target_images) == {44}
        keys.add(rows.key[0])
    assert len(keys) == 2
    exit_code, _, err = oneticket_cli("transfer as --data mine.py:data:b --controls own,reinit --rows t.csv", capsys)
    assert exit_code == 0, err
    rows = pandas.read_csv("t.csv")
    assert set(rows.arm) == {"dense", "ticket", "own", "reinit"} and set(rows.target_images) == {45}
    exit_code, _, err = oneticket_cli("transfer as --data digits", capsys)
    expected = (
        "digits holds images 1 x 8 x 8; the network takes vectors of 13 numbers, and one cannot be turned into the"
    )
    assert (exit_code, expected in " ".join(err.split())) == (2, True), err


def test_mistakes_in_a_file_are_told_by_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    for text, expected in [
        ("[training]\nbatch = 3\n", "find: unknown field 'training'"),
        ("[search]\nlr = 3\n", "unknown field 'lr'"),
        ('[search]\ndata = "digits"\nmodel = "mlp"\noptimizer = 3\n', "optimizer"),
        ("[search.training]\nbudget = 1979-05-27\n", "bad.toml:2: search.training.budget: expected a time"),
        ("levels = [", "not a TOML file"),
    ]:
        Path("bad.toml").write_text(text)
        code, _, err = oneticket_cli("find --spec bad.toml --lr 0.1 --data digits --model mlp --out a", capsys)
        assert (code, expected in err, "Traceback" in err) == (2, True, False), err


def test_bad_sources_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("text.safetensors").write_text("hello")
    for command in ("show", "verify", "transfer"):
        more = " --data digits" if command == "transfer" else ""
        for source, status, expected in [
            ("nowhere", 2, "o such file"),
            ("empty", 2, "holds no book"),
            ("text.safetensors", 2, "text.safetensors: a text file"),
        ]:
            code, _, err = oneticket_cli(f"{command} {source}{more}", capsys)
            assert (code, expected in err) == (status, True), (command, source, err)
    oneticket_cli(f"{FIND} --out a --quiet", capsys)
    for words, expected in [
        ("--levels 9", "--levels: a/book-0.safetensors holds levels 0 to 3, got 9"),
        ("--controls reint", "--controls"),
        ("--head bald", "--head"),
    ]:
        code, _, err = oneticket_cli(f"transfer a --data digits:b {words}", capsys)
        assert (code, expected in err) == (2, True), err
    damaged = bytearray(book_file("a", 0).read_bytes())
    damaged[-1] ^= 1
    book_file("a", 0).write_bytes(damaged)
    for command in ("show a", "verify a", "transfer a --data digits:b"):
        code, _, err = oneticket_cli(command, capsys)
        assert (code, "book-0.safetensors" in err) == (1, True), err


def test_what_is_not_asked_for_is_as_the_source_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    cosine = "--schedule cosine --warmup 3it --optimizer adam --lr 0.003"
    oneticket_cli(f"{FIND.replace('--optimizer sgd', cosine)} --out a --quiet", capsys)
    Path("t.toml").write_text('levels = [2]\ncontrols = []\n[transfer]\ndata = "digits:b"\n')
    Path("u.toml").write_text(
        'levels = [2]\ncontrols = []\n[transfer]\ndata = "digits:b"\noptimizer = "adam"\ntraining = {batch = 64}\n'
    )
    wanted = ["--data digits:b --levels 2 --controls none", "--spec t.toml", "--spec u.toml"]
    for number, words in enumerate(wanted):
        code, _, err = oneticket_cli(f"transfer a {words} --rows {number}.csv", capsys)
        assert code == 0, err
        row = pandas.read_csv(f"{number}.csv").iloc[-1]
        assert (row.target_optimizer, row.lr, row.schedule, row.budget) == ("adam", 0.003, "cosine", "1ep")
    code, *_ = oneticket_cli("transfer a --spec t.toml --optimizer sgd --rows s.csv", capsys)
    row = pandas.read_csv("s.csv").iloc[-1]
    assert (code, row.lr, row.schedule) == (0, 0.02, "cosine"), "another optimizer keeps the schedule, not the rate"


def test_data_that_changed_under_its_name_is_other_work(capsys: pytest.CaptureFixture[str]) -> None:
    numpy = pytest.importorskip("numpy")
    draw = numpy.random.default_rng(0)
    images, labels = draw.integers(0, 256, (60, 6, 6), dtype=numpy.uint8), numpy.arange(60) % 3
    words = "find --data ./s.npz --model mlp --widths 8 --levels 1 --budget 2ep --batch 10 --quiet --out a"
    numpy.savez("s.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert oneticket_cli(words, capsys)[0] == 0
    before = oneticket.Book.load("a")
    numpy.savez("s.npz", x_train=images, y_train=labels[::-1], x_test=images, y_test=labels)
    code, _, err = oneticket_cli(words, capsys)
    assert (code, "of data that has changed" in err) == (2, True), "a book of the old data is not lost unasked"
    assert oneticket.Book.load("a").id == before.id
    assert oneticket_cli(words.replace("--out a", "--out b"), capsys)[0] == 0
    after = oneticket.Book.load("b")
    assert after.lineage["data_digest"] != before.lineage["data_digest"]
    assert after.records[0]["train_loss"] != before.records[0]["train_loss"]


def test_a_training_that_diverges_fails_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("--budget 9it --rewind 1it", "--budget 1it --rewind 0it"):
        find = f"find --data digits --model mlp --levels 1 --lr 1e30 --momentum 0 {words} --out a"
        code, _, err = oneticket_cli(find, capsys)
        assert (code, "try a lower --lr" in err, "Traceback" in err) == (1, True, False), err


def test_ctrl_c_leaves_a_state_that_goes_on() -> None:
    words = FIND.replace("1ep", "100000ep").split()
    command = [sys.executable, "-m", "oneticket", *words, "--out", "a"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ})
    store = Path(".oneticket")
    until(lambda: [*store.rglob("*.safetensors")] or process.poll() is not None, "the rewind weights")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=FOREVER)
    assert process.returncode == 130
    assert b"run the same command to go on" in err
    assert b"Traceback" not in err


def test_options_are_frozen() -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "options.json").read_text())
    now: dict[str, list[object]] = {
        spec.kind: [[f.name, ".".join(f.path)] for f in flags(spec)] for spec in (FindSpec, ComparisonSpec)
    }
    commands = (
        studies.study,
        studies.report,
        studies.status,
        studies.board,
        studies.ls,
        studies.show_entry,
        studies.gc,
    )
    how = [field.name for field in fields(How)]
    for command in commands:
        names = list(inspect.signature(command).parameters)
        now[command.__name__] = [one for name in names for one in (how if name == "how" else [name])]
    assert now == golden, "an option changed: users' scripts depend on it; change golden/options.json only on purpose"
    for spec in (FindSpec, ComparisonSpec):
        names = [flag.name for flag in flags(spec)]
        assert len(set(names)) == len(names)


def test_the_issue_of_a_new_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = oneticket_cli("--version", capsys)
    assert (code, out.strip()) == (0, oneticket.__version__)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not here")
def test_find_on_fashion_mnist(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETICKET_DATA", str(DATA))
    words = "find --data fashion_mnist --per-class 20 --model conv-4 --width 0.25 --levels 2 --budget 1ep --rewind 0it"
    code, out, err = oneticket_cli(f"{words} --out f", capsys)
    assert code == 0, err
    assert "conv-4(width=0.25) on fashion_mnist(per_class=20)" in out
