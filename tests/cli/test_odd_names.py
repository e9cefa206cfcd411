"""Names that no file can have are told with the setting that holds them, before any work; odd files with their own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from commands import oneticket_cli

from oneticket.claims.cells import grid
from oneticket.claims.complexity import Complexity
from oneticket.cli.app import main
from oneticket.data.images.adapt import adapt
from oneticket.ground.errors import DataError, StoreError
from oneticket.report.export import read_rows
from oneticket.store.store import Store
from oneticket.study.file import read_study

FIND = "find --data digits:a --model mlp --widths 4 --levels 1 --budget 2it --batch 8 --rewind 1it"
SETTINGS = {
    f"{FIND} --out NAME": "--out",
    f"{FIND} --out o --rows NAME.csv": "--rows",
    f"{FIND} --out o --store NAME": "--store",
    f"{FIND} --out o --spec NAME": "--spec",
    "transfer NAME --data digits:b": "SOURCE",
    "show NAME": "FILE",
    "verify folder/NAME": "FILE",
    "import NAME --out o": "FILE",
    "import empty --out NAME": "--out",
    "import empty --weights NAME --out o": "--weights",
    "export digits-a --to dense --out NAME.safetensors": "--out",
    "pull digits-a --out NAME": "--out",
    "push NAME ./o": "FILE",
    "score digits-a NAME.csv": "ROWS",
    "report demo --out NAME": "--out",
    "demo --out NAME": "--out",
    "status demo --store NAME/inside": "--store",
    "store ls --store NAME": "--store",
    "store verify --store NAME": "--store",
}


def refused(words: str, name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main([word.replace("NAME", name) for word in words.split()])
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("oneticket: ") and "Traceback" not in err
    return int(left.value.code or 0), err


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()


@pytest.mark.parametrize("words", [*SETTINGS, "zoo NAME", "push digits-a ./NAME", "study x --track wandb:NAME"])
def test_a_nul_is_told_with_its_setting(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = refused(words, "a\0b", capsys)
    assert code == 2 and r"a\x00b" in err and "It contains a NUL character, which no name can contain." in err
    assert f"for {SETTINGS.get(words, '')}" in err
    assert os.listdir() == ["empty"]


@pytest.mark.parametrize("words", SETTINGS)
def test_a_long_name_is_told_with_its_setting(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = refused(words, "é" * 130, capsys)
    length = 260 + len(next(word for word in words.split() if "NAME" in word).partition("NAME")[2].partition("/")[0])
    assert code == 2
    assert f"for {SETTINGS[words]}. A file or folder has a name of at most 255 bytes, one here has {length}." in err
    assert os.listdir() == ["empty"]


def test_names_of_255_bytes_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    name = "n" * 243 + ".safetensors"
    with pytest.raises(SystemExit) as left:
        main(["pull", "digits-a", "--out", name])
    assert left.value.code == 0 and sorted(os.listdir()) == sorted(["empty", name])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("show fifo", "fifo: is not a regular file"),
        ("import fifo --out o", "fifo: is not a regular file"),
        ("import /dev/zero --out o", "/dev/zero: is not a regular file"),
        ("import . --out o", ".: expected a file, got a folder"),
        ("score empty empty.csv", "empty: the file is empty"),
        ("study /dev/null", "/dev/null: levels: field required"),
        ("push digits-a ~nobody-of-that-name/x/" + "y" * 300, "File name too long"),
        ("find --data ~nobody-of-that-name/x --model mlp --out o", "not found; looked in ~nobody-of-that-name/x"),
        (f"find --data ./{'d' * 300} --model mlp --out o", "cannot be read: File name too long"),
        (f"find --data ./{'d' * 300}.npz --model mlp --out o", "cannot be read: File name too long"),
        ("find --data ./empty --model mlp --out o", "is a file; expected a folder of images"),
        ("find --data ./fifo --model mlp --out o", "not found; looked in fifo"),
    ],
)
def test_odd_files_are_told(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("fifo")
    assert said in refused(words, "", capsys)[1]


def test_in_python_too() -> None:
    with pytest.raises(StoreError, match="cannot list the store .*: embedded null"):
        Store("a\0b").keys()
    many = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(10**9, 1, 8, 8)  # which take one byte
    with pytest.raises(DataError, match=r"^1,000,000,000 images of 1 x 4096 x 4096 would take .* set a smaller size"):
        adapt(many, (1, 4096, 4096), "resize")


SEVERAL = """
levels = [1]
arms = ["dense", "ticket", "own"]
replicates = 1
rewind = "1it"
training = {budget = "3it", batch = 16}
complexity = {sets = {"./in+out" = {classes = 7}}}
models = {net = {name = "mlp", widths = [8]}}
optimizers = {sgd = "sgd"}
parts = {p = {sources = ["./in+out:a", ["./in+out:a", "./other"]], targets = ["./in+out:b"]}}
"""


def test_a_plus_in_a_path_makes_no_second_set(capsys: pytest.CaptureFixture[str]) -> None:
    draw = numpy.random.default_rng(0)
    for folder in ("in+out", "other"):
        Path(folder).mkdir()
        for part in ("train", "test"):
            rows = "".join(f"{x:.3f},{y:.3f},{n % 3}\n" for n, (x, y) in enumerate(draw.normal(size=(60, 2))))
            Path(folder, f"{part}.csv").write_text("x,y,label\n" + rows)
    Path("mine.toml").write_text(SEVERAL)
    for command in (
        "study mine.toml --engine inline --quiet",
        "report mine.toml --out report",
        "find --data ./in+out:a --model mlp --widths 8 --levels 1 --rewind 1it --budget 3it --out book --quiet",
        "transfer book --data ./in+out:b --levels 1 --controls own --rows rows.csv --quiet",
    ):
        code, _, err = oneticket_cli(command, capsys)
        assert code == 0, (command, err)
    assert "./in+out:a" in oneticket_cli("show book", capsys)[1]
    study = grid(read_rows(Path("report/rows.csv")))
    sources = {source.name: source for _, source in study.tickets}
    single, both = sources['"./in+out:a"'], sources['"./in+out:a"+./other']
    assert (single.several, single.set, single.half) == (False, "./in+out", "a")
    assert (both.several, both.half) == (True, None)
    assert not both.apart(single) and both.apart(replace(single, name="./in"))
    stated = Complexity(rule=read_study(Path("mine.toml")).complexity, study=study)
    assert {stated.source(cell).classes for cell, source in study.tickets if source is single} == {7}
    (row,) = (row for row in read_rows(Path("rows.csv")) if row["arm"] == "ticket")
    assert (row["source_name"], row["target_data"]) == ('"./in+out:a"', '"./in+out:b"')
