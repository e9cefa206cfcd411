"""What commands print is plain text: whoever wrote it, whatever is in it, and whatever characters a terminal has."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch

from oneticket.cli.app import main
from oneticket.cli.tables import print_facts, print_table
from oneticket.lottery.spec import SearchSpec
from oneticket.session.progress import view
from oneticket.session.screen import BarScreen
from oneticket.session.terminal import say, tell
from oneticket.stats.report_table import ReportTable
from oneticket.store.step import Step
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

ODD = {
    "digits:a: and digits:b: done": "digits:a: and digits:b: done",
    "[bold]x[/] [/] [link=file:///]": "[bold]x[/] [/] [link=file:///]",
    "\x1b[31mred \x07": r"\x1b[31mred \x07",
    "a\udcffb": r"a\udcffb",
    ":smiley: 12.5 'text' None": ":smiley: 12.5 'text' None",
}


@pytest.fixture
def _a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def step(folder: str) -> Step:
    return Step(kind="rewind", args={**SearchSpec(data=f"./{folder}", model="mlp").identity(), "replicate": 0})


@pytest.mark.usefixtures("_a_terminal")
@pytest.mark.parametrize("words", ODD)
def test_words_are_printed_as_they_are(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(words)
    tell(words)
    assert capsys.readouterr() == (ODD[words] + "\n", ODD[words] + "\n")
    print_table(ReportTable(title=words, header=(words,), rows=((words,),), caption=words))
    print_facts([(words, words)])
    assert capsys.readouterr().out.count(ODD[words]) == 4 + 2
    if words != "a\udcffb":  # which no set can be called
        _check_progress(words, capsys)


def _check_progress(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with view(3) as shown:
        assert isinstance(shown.screen, BarScreen)
        shown.observe(step(words), "lost")
        shown.observe(step(words), "drifted")
    printed = capsys.readouterr().err
    assert f"the first steps of ./{ODD[words]} with sgd" in printed
    assert f"the first steps of ./{ODD[words]} with sgd, replicate 0: the process that worked on it is gone" in printed


def test_several_lines_stay_several(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\n  two\x1b\n")
    assert capsys.readouterr().out == "one\n  two\\x1b\n\n"


COMMANDS = {
    "--help": 0,
    "find --help": 0,
    "transfer --help": 0,
    "study --help": 0,
    "store gc --help": 0,
    "zoo": 0,
    "zoo digits-a": 0,
    "show digits-a": 0,
    "verify digits-a": 0,
    "pull digits-a --out shipped.safetensors": 0,
    "show t—é\udcff.safetensors": 0,
    "verify t—é\udcff.safetensors": 0,
    "consensus digits-a digits-a --out o.safetensors": 2,
    "zoo .": 0,
    "push t—é\udcff.safetensors ./é\udcff": 0,
    "import t—é\udcff.safetensors --out o.safetensors": 1,
    "show 中\udcff": 2,
    "study 中.toml": 2,
    "status é.toml --store é\udcff": 0,
    "store ls --store é\udcff": 0,
    "store verify --store é\udcff": 0,
    "store show 中 --store é\udcff": 2,
    "transfer 中 --data digits:b": 2,
    "find --data 中 --model mlp --out é": 2,
    "find --data ./é\udcff --model mlp --out é": 2,
}
STUDY = """
name = "under"
title = "Ünder 中 — ±"
levels = [1]
arms = ["dense", "ticket"]
replicates = 1
rewind = "1it"
parts."é中".sources = ["digits:a"]
models.net = {name = "mlp", widths = [4]}
optimizers.sgd = "sgd"
training = {budget = "2it", batch = 8}
"""


def run(words: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, list[io.TextIOWrapper]]:
    """Run a command whose standard output and error have that encoding, strictly."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as left:
            main(words.split())
    return left.value.code, streams


def text(stream: io.TextIOWrapper) -> str:
    return bytes(stream.buffer.getvalue()).decode(stream.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_command_prints_in_every_encoding(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    Path("é.toml").write_text(STUDY, "utf-8")
    weights = {"中.weight": torch.ones(2, 2)}
    contract = Contract(rewind="0it", step=0, head=())
    Ticket(mask=Mask.full({"中.weight": (2, 2)}), weights=weights, contract=contract).save("t—é\udcff.safetensors")
    for words, expected in COMMANDS.items():
        code, streams = run(words, encoding, monkeypatch)
        out, err = map(text, streams)
        assert code == expected, (words, out, err)
        assert "PYTHONIOENCODING" not in err and (out or err), words


def test_signs_that_are_lacking_have_others_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    code, (stream, _) = run("--version", "ascii", monkeypatch)
    print("0.5 ± 0.1, −1 × 2 — … · é中\udcff", file=stream)
    assert (code, text(stream).split("\n")[1]) == (0, "0.5 +- 0.1, -1 x 2 - ... - \\xe9\\u4e2d\\udcff")


@pytest.mark.usefixtures("_a_terminal")
def test_what_turns_while_a_command_reads_has_signs_of_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    code, (_, stream) = run("verify digits-a", "ascii", monkeypatch)
    assert (code, "reading tickets ..." in text(stream)) == (0, True)
    assert "\\u" not in text(stream)
