"""The README: executed line by line, short, and with the pictures and numbers of the committed rows."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from oneticket.cli.app import main
from oneticket.report.export import read_rows
from oneticket.stats.summary import summary
from oneticket.study.file import read_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "results"))
        return importlib.import_module("pictures")


def test_it_is_one_screen_and_links() -> None:
    assert len(README.split()) <= 600
    assert README.splitlines().index("make demo     # again: all is reused, in seconds") < 30


def test_every_link_leads_somewhere() -> None:
    named = re.findall(r"\]\(([^)]+)\)", README) + re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.slow
def test_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    clone, *lines = COMMANDS
    assert clone == "git clone <address of this repository> oneticket && cd oneticket"
    ran = []
    for line in lines:
        words = line.split("#")[0].split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
        else:
            assert words[0] == "oneticket", line
            with pytest.raises(SystemExit) as left:
                main(words[1:])
            assert left.value.code == 0, (line, capsys.readouterr().err)
        ran.append(words[1])
    assert ran == ["demo", "demo", "find", "transfer"]
    assert (tmp_path / "rows.csv").exists()


def test_every_python_line() -> None:
    import torch

    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    with torch.random.fork_rng():
        for block in blocks:
            known: dict[str, object] = {}
            exec(compile(block, "README.md", "exec"), known)
            assert "exactly zero" in str(known["guard"].audit())  # type: ignore[attr-defined]


def test_its_numbers_and_pictures_are_those_of_the_demo(pictures: ModuleType) -> None:
    """`make pictures` writes them from the rows that `oneticket demo` left."""
    rows = read_rows(pictures.ROWS)
    assert pictures.with_headline(README, pictures.headline(rows)) == README
    for name, drawn in pictures.methods(rows).items():
        assert (pictures.PICTURES / name).read_text() == drawn, name


def test_the_rows_are_those_of_the_shipped_demo(pictures: ModuleType) -> None:
    study, rows = read_study(Path("demo")), read_rows(pictures.ROWS)
    assert {row["arm"] for row in rows} == {*study.arms}
    assert {row["level"] for row in rows if row["level"]} == {*study.levels}
    assert {one.score.n for one in summary(rows)} == {study.replicates}


def test_the_headline_says_of_which_optimizers_it_is_and_what_the_demo_says_of_all() -> None:
    (headline,) = re.findall(r"<!-- headline.*?-->\n(.*?)\n<!--", README)
    assert headline.startswith("**Found and trained with SGD")
    assert "not shown to differ from the same mask with new weights (+3.9 points [−1.3, 9.1])" in headline
    assert headline.endswith("it is 6.0 points below the dense network [4.8, 7.2] (n = 3, 95 % t intervals).")
