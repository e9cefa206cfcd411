"""The README, executed line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oneticket.cli.app import main
from oneticket.cli.flags import collect, from_file, read
from oneticket.study.file import read_study
from oneticket.study.spec import FindSpec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DATA = ROOT.parent / "shared" / "data"
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line]


def test_the_first_result_comes_early() -> None:
    assert README.splitlines().index("make demo     # again: everything is reused, in seconds") < 25


@pytest.mark.slow
def test_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for line in COMMANDS:
        words = line.split("#")[0].split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
            continue
        if words[0].startswith("ONETICKET_DATA="):
            if not DATA.exists():
                continue
            monkeypatch.setenv("ONETICKET_DATA", str(DATA))
            # Hours as written; the same work on a tenth of the width and a three-hundredth of the images is seconds.
            words = [*words[1:], "--per-class", "20", "--width", "0.1", "--budget", "1ep", "--rewind", "1it"]
        if "studies/paper-small.toml" in words:
            # Hours as written; the same walk over one part of it, with small data, is seconds.
            words[words.index("studies/paper-small.toml")] = str(_small(tmp_path))
        assert words[0] == "oneticket", line
        with pytest.raises(SystemExit) as left:
            main(words[1:])
        assert left.value.code == 0, (line, capsys.readouterr().err)
        ran.append(words[1])
    assert ran[:3] == ["find", "show", "transfer"]
    assert ran[4:] == [
        *("study", "study", "status", "report"),
        *("zoo", "pull", "transfer", "score", "push", "export"),
    ]
    assert (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "rows.csv").exists()


def _small(folder: Path) -> Path:
    file = folder / "small.toml"
    file.write_text(
        f'include = "{ROOT / "studies" / "digits.toml"}"\nreplicates = 1\nlevels = [1]\narms = ["dense", "ticket"]\n'
        'take = ["mnist1d"]\ntraining = {budget = "3it"}\nrewind = "1it"\n'
    )
    return file


def test_every_python_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    with torch.random.fork_rng():
        for block in blocks:
            exec(compile(block, "README.md", "exec"), {})
    assert "exactly zero" in capsys.readouterr().out
    assert (tmp_path / "mine.safetensors").exists()


def test_the_settings_files(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README, re.S)
    find, study = blocks
    file = tmp_path / "find.toml"
    file.write_text(find)
    given = {"search__optimizer__lr": "0.2"}
    asked = read(FindSpec, collect(FindSpec, given, from_file(file)), flagged=given, file=file)
    assert (asked.replicates, asked.search.model.name, asked.search.optimizer.lr) == (3, "vgg-19", 0.2)
    variant = tmp_path / "variant.toml"
    variant.write_text(study.replace("paper-small.toml", str(ROOT / "studies" / "paper-small.toml")))
    read_variant = read_study(variant)
    assert (read_variant.replicates, read_variant.take) == (6, ("halves",))
