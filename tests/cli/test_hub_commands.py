"""`oneticket zoo`, `push` and `pull` as a user meets them, with a folder and with a Hub on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from commands import oneticket_cli
from hub_server import Hub
from waiting import FOREVER

from oneticket.ticket.book import Book
from oneticket.ticket.describe import scores
from oneticket.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
TICKET, BOOK = (ROOT / "tests" / "ticket" / "golden" / f"{kind}.safetensors" for kind in ("ticket", "book"))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def test_push_and_pull_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = oneticket_cli(f"push {TICKET} ./mine --license mit --data-license CC0", capsys)
    assert (code, out, err) == (0, "folder ./mine: ticket.safetensors and its card\n", "")
    card = Path("mine/README.md").read_text("utf-8")
    assert "- this file: mit" in card and "- the data it was found on: CC0" in card
    code, out, err = oneticket_cli("pull ./mine --out back.safetensors", capsys)
    assert (code, err) == (0, "") and "of 28 prunable weights 20 remain" in out and "written to back.safetensors" in out
    assert "- head: " in out and "## Scores" not in out, "whole sections"
    assert Path("back.safetensors").read_bytes() == TICKET.read_bytes()
    code, out, err = oneticket_cli(f"pull {Path('mine').absolute().as_uri()} --out back.safetensors", capsys)
    assert (code, out.splitlines()[0]) == (0, "# mine"), err
    assert "holds ticket.safetensors already" in oneticket_cli(f"push {BOOK} ./mine", capsys)[2]
    assert oneticket_cli(f"push {BOOK} ./book", capsys)[0] == 0
    assert oneticket_cli("pull ./book --density 0.18 --out deep.safetensors", capsys)[0] == 0
    assert Ticket.load("deep.safetensors") == Book.load(BOOK)[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("push none.safetensors ./mine", "none.safetensors: No such file or folder"),
        (f"push {ROOT}/attacks/pickle.safetensors ./mine", "a pickle"),
        (f"push {TICKET} ./mine --revision main", "this is a plain folder: leave it out"),
        (f"push {TICKET} user", "say ./user to make the folder, user/name for the Hub"),
        (f"push {TICKET} ./mine --private", "this is a plain folder: leave it out"),
        ("pull ./none --out x", "No such file or folder"),
        (f"pull {TICKET} --revision main --out x", "only Hub repositories have any"),
        (f"pull {TICKET} --level 3 --out x", "holds one ticket"),
        (f"pull {ROOT}/attacks/id-wrong.safetensors --out x", "the id is not the id"),
        (f"pull {TICKET} --out .", "is a folder; expected the file to write"),
        ("zoo ./none", "No such file or folder"),
    ],
)
def test_mistakes_write_nothing(words: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = oneticket_cli(words, capsys)
    damaged = "id-wrong" in words
    assert (code, out) == (1 if damaged else 2, "") and err.startswith("oneticket: ") and expected in err
    assert list(Path().iterdir()) == []


def test_zoo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path("ships")
    shipped.mkdir()
    monkeypatch.setattr("oneticket.publish.shipped.ZOO", shipped)
    code, out, _ = oneticket_cli("zoo", capsys)
    assert code == 0 and "There are none." in " ".join(out.split())
    shutil.copy(TICKET, shipped / "digits-a.safetensors")
    shutil.copy(ROOT / "attacks" / "name-terminal.safetensors", shipped / "torn.safetensors")
    code, out, _ = oneticket_cli("zoo", capsys)
    assert code == 0 and "\x1b" not in out
    lines = out.splitlines()
    (good,) = [line.split() for line in lines if line.lstrip().startswith("digits-a")]
    assert good == ["digits-a", "tiny", "1×8×8", "71.4", "%", "—", "1"]
    assert "Not measured on any other set: digits-a." in out and "oneticket zoo NAME" in out
    assert any("torn" in line and "bad, see below" in line for line in lines)
    assert any(line.startswith("torn: bad: unexpected tensor") for line in lines)
    code, out, _ = oneticket_cli("zoo digits-a", capsys)
    assert code == 0 and out.startswith("# digits-a") and "## Licence" in out and 'from_pretrained("digits-a")' in out
    code, out, err = oneticket_cli("zoo digits_a", capsys)
    assert (code, out) == (2, "") and "did you mean 'digits-a'" in err
    code, out, _ = oneticket_cli("zoo ships", capsys)
    assert code == 0 and "oneticket zoo ships/NAME" in out and "oneticket zoo ships --for mine.py:model" in out
    code, out, _ = oneticket_cli("zoo ships/digits-a.safetensors", capsys)
    assert code == 0 and out.startswith("# digits-a.safetensors") and "## Licence" in out


def test_what_ships_fits_80_columns() -> None:
    """Worst and best, beside the dense network and the controls; no line is wider than the terminal."""
    lines = on_a_terminal("zoo")
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    for words in ("worst: ", "best: ", "Beside the dense network", "Beside its strongest control", "Bonferroni"):
        assert words in said


def test_a_network_of_a_card_is_one_line_of_80_columns() -> None:
    """In words as on the other pages, and no interval is broken."""
    lines = on_a_terminal("zoo digits-a")
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if re.search(r"\[−?\d+\.\d, −?\d+\.\d\]  5 ?$|in all 5 .*5 ?$|—  5 ?$", line)]
    assert len(rows) == sum(1 for _ in scores(Ticket.load("digits-a"))) == 20
    names = {re.split(r"  +", row.strip())[0] for row in rows}
    assert names == {"dense", "ticket", "the target's own ticket", "new weights, same mask", "layerwise random"}


def on_a_terminal(words: str) -> list[str]:
    """The lines of a command on a terminal of 80 columns."""
    import pty

    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "oneticket", *words.split()],
        stdout=follower,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "80"},
        check=False,
        timeout=FOREVER,
    )
    os.close(follower)
    text = b""
    with contextlib.suppress(OSError):
        while part := os.read(leader, 2**16):
            text += part
    assert done.returncode == 0
    return text.decode().replace("\r", "").splitlines()


def test_which_one_fits(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = oneticket_cli("zoo --for digits", capsys)
    heads = ["Fits: resnet-20-cifar10", *(f"Fits too: {name}" for name in ("digits-a", "lenet-", "conv-4-cifar10"))]
    places = [out.index(words) for words in (*heads, "To use resnet-20-cifar10")]
    assert code == 0 and places == sorted(places), "by the lower end of the interval, not by the mean"
    assert out.count("The search used 719 of these images.") == out.count("The search used") == 1
    assert "oneticket transfer " in out and "ticket.attach(model, optimizer)" in out
    Path("mine.py").write_text("import torch\n\ndef model():\n    return torch.nn.Linear(3, 3)\n")
    code, out, _ = oneticket_cli("zoo --for mine.py:model", capsys)
    assert code == 0 and "None fits" in out and "oneticket find --data DATASET --model mine.py:model" in out
    Path("lot").mkdir()
    shutil.copy(ROOT / "oneticket" / "zoo" / "digits-a.safetensors", "lot/one.safetensors")
    for where, name in (("lot", "lot/one.safetensors"), ("lot/one.safetensors", "lot/one.safetensors")):
        code, out, _ = oneticket_cli(f"zoo {where} --for lenet-300-100", capsys)
        assert code == 0 and f'from_pretrained("{name}")' in out and f"oneticket transfer {name} " in out
    code, out, err = oneticket_cli("zoo --for nothing", capsys)
    assert (code, out) == (2, "") and "--for: unknown model or dataset 'nothing'" in err


@pytest.mark.parametrize(("low", "head"), [(0.002, "Fits best: near"), (-0.002, "Fits: near"), (None, "Fits: far")])
def test_best_is_said_only_of_what_is_shown(low: float | None, head: str, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = Ticket.load("digits-a")
    bounds = {"far": (0.04, -0.1, 0.18), "near": (0.01, low, None if low is None else 0.02 - low)}
    for name, (mean, *ends) in bounds.items():
        gain = {"mean": mean, "low": ends[0], "high": ends[1], "n": 5}
        score = {"mean": 0.9, "low": 0.88, "high": 0.92, "n": 5}
        row = {"data": "digits:b", "optimizer": "sgd", "arm": "dense", **score, "difference": gain}
        parts = {key: getattr(shipped, key) for key in ("mask", "weights", "contract", "model", "lineage")}
        Ticket(**parts, evidence={"scores": [row]}).save(f"lot/{name}.safetensors")
    code, out, _ = oneticket_cli("zoo lot --for digits", capsys)
    assert code == 0 and re.findall("^Fits.*: (?=far|near).*", out, re.M)[0] == f"{head}.safetensors"


def test_the_lines_that_are_told_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of `--for DATASET`, as it stands, with an optimizer."""
    _, out, _ = oneticket_cli("zoo --for digits", capsys)
    use = out.partition("To use ")[2].partition("These do not fit")[0]
    lines = [line[2:] for line in use.splitlines()[1:] if line.startswith("  ")]
    code = lines[lines.index("import oneticket") :]
    code.insert(-1, "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)")
    exec("\n".join(code), {})
    assert "transferred" in capsys.readouterr().out


def test_the_hub_from_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        here = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_test"}
        how = {
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = forked.run("-m", "oneticket", *words, env={**kept, **here, **how})
        assert done.returncode or not done.stderr, done.stderr
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr

    with Hub() as server:
        assert run("push", str(TICKET), "ann/ticket", "--revision", "v2") == (
            0,
            "Hub ann/ticket: ticket.safetensors and its card, "
            f"{server.url}/ann/ticket/commit/{server.repos['ann/ticket'].refs['v2']}\n",
        )
        code, out = run("pull", "ann/ticket", "--revision", "v2", "--out", "back.safetensors")
        assert code == 0 and Path("back.safetensors").read_bytes() == TICKET.read_bytes(), out
        server.put("ann/good", {"ticket.safetensors": TICKET.read_bytes()})
        server.put("ann/bad", {"ticket.safetensors": b"\x80pickle!" * 9})
        server.put("bob/book", {"book.safetensors": BOOK.read_bytes()})
        server.collections["ann/sparse-things-0123456789abcdef01234567"] = ["ann/good", "bob/book", "bob/gone"]
        server.busy = 1
        code, out = run("zoo", "hf://ann")
        assert server.busy == 0, "asked again without a word"
        assert code == 0 and "ann/good" in out and "ann/bad: bad:" in out and "a pickle" in out and "bob" not in out
        assert "ann/ticket: bad: the repository on the Hub holds no" in out, "its main branch has none"
        code, out = run("zoo", "ann/sparse-things-0123456789abcdef01234567")
        assert code == 0 and "1 to 17.9 %" in out and "bob/gone: bad:" in out
        code, out = run("zoo", "ann/good")
        assert code == 0 and out.startswith("# ann/good") and 'from_pretrained("ann/good")' in out
        code, out = run("zoo", "hf://nobody")
        assert code == 2 and "hf://nobody: no tickets there; " in out
        asked = len(server.log)
        for words in (("zoo", "ann"), ("zoo", "digits_a", "--for", "digits"), ("zoo", "ann", "--json")):
            code, out = run(*words)
            assert code == 2 and f"{words[1]}: No such file or folder, and no shipped ticket; " in out
            assert f". For a Hub user, write hf://{words[1]}" in out
            assert ("did you mean 'digits-a'?" in out) == (words[1] == "digits_a")
        assert len(server.log) == asked, "nothing leaves the machine"
