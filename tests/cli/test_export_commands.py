"""`oneticket export` and `oneticket import` as a user meets them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
import torch
from commands import oneticket_cli
from safetensors.torch import load_file, save_file

from oneticket.export import CLibrary
from oneticket.export.c.library import compiler
from oneticket.export.onnx import missing
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

FIND = "find --data digits:a --model lenet-300-100 --optimizer sgd --levels 2 --budget 4it --rewind 1it --fraction 0.7"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def test_export_import_and_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = oneticket_cli(f"{FIND} --out a --quiet", capsys)
    assert code == 0, err
    code, out, err = oneticket_cli("export a --level 2 --rounds 6 --batch 4", capsys)
    assert code == 0, err
    for said in ("dense", "masked", "csr", "zipped", "multiply-adds", "n = 6 rounds", "the ticket's own, of step 1"):
        assert said in out, said
    assert (
        "Unstructured at 9 % of the prunable weights: in dense form " in " ".join(out.split())
        and "ticket" in out.splitlines()[-1]
    )
    assert "to dense" in out and ("to onnx" in out or missing() or "onnx-compact" not in out)

    code, out, err = oneticket_cli("export a --density 0.3 --to dense --out d.safetensors --rounds 1", capsys)
    assert (code, "written" in out) == (0, True), err
    ticket = Ticket.load("a", density=0.3)
    state = load_file("d.safetensors")
    assert all(torch.equal(state[name], value) for name, value in ticket.weights.items())

    code, out, err = oneticket_cli(
        "import d.safetensors --out mine.safetensors --head fc3.weight --head fc3.bias", capsys
    )
    assert code == 0, err
    assert "Inferred: every exact zero" in " ".join(out.split()) and "fc1.weight" in out and "30 %" in out
    mine = Ticket.load("mine.safetensors")
    assert mine.mask == ticket.mask and mine.contract.head == ("fc3.weight", "fc3.bias")
    assert mine.lineage["imported"]["inferred"] is True
    assert (mine.contract.schedule, mine.contract.order) == ("caller", "caller")

    save_file({name: remaining.float() for name, remaining in ticket.mask.items()}, "m.safetensors")
    save_file({name: value + 0 for name, value in Book.load("a").weights.items()}, "w.safetensors")
    code, out, err = oneticket_cli(
        "import m.safetensors --weights w.safetensors --step 1 --out given.safetensors", capsys
    )
    assert (code, "Inferred" in out) == (0, False), err
    assert Ticket.load("given.safetensors").weights["fc1.weight"].equal(ticket.weights["fc1.weight"])

    code, out, err = oneticket_cli("export mine.safetensors", capsys)
    assert code == 2 and "names no network; in Python: oneticket.export.export" in err

    code, out, err = oneticket_cli(
        "export a --level 1 --weights d.safetensors --to csr --out c.safetensors --rounds 1", capsys
    )
    assert (code, "trained, from d.safetensors" in out) == (0, True), err
    if not missing():
        code, out, err = oneticket_cli("export a --level 2 --to onnx --out m.onnx --rounds 1", capsys)
        assert (code, Path("m.onnx").stat().st_size > 10_000) == (0, True), err


MISTAKES = {
    "export a.safetensors --to onnx": (2, "--to and --out go together"),
    "export none.safetensors": (2, "none.safetensors"),
    "export none.safetensors --to tflite --out x": (2, "--to"),
    "export none.safetensors --rounds 0": (2, "--rounds"),
    "import none.pth --out t.safetensors": (2, "none.pth: no such file"),
    "import bad.pth --out t.safetensors": (2, "bad.pth: a bare pickle, which could run code"),
    "import words.npz --out t.safetensors --step -1": (2, "--step"),
    "import words.npz --out t.safetensors": (2, "words.npz: a text file"),
    "import ones.safetensors --out t.safetensors --format zeros": (2, "read as zeros: no weight is partly zero"),
    "import ones.safetensors --out t.safetensors": (2, "holds masks; give the file of the weights"),
    "import mask.pth --out t.safetensors": (2, "lies beside it; give the file of the weights (`--weights`)"),
    "import some.safetensors --out t.safetensors --head fc.weigth": (2, "did you mean 'fc.weight'"),
    "import ones.safetensors --out t.safetensors --weights bad.pth": (2, "bad.pth: a bare pickle"),
    "import ones.safetensors --out t.safetensors --format torch-prune": (2, "no NAME_orig with its NAME_mask"),
    "import nested.pth --out t.safetensors --key emma": (
        2,
        "no entry 'emma' with tensors; entries with tensors: ema, net",
    ),
    "export ones.safetensors --key net": (2, "--key belongs to --weights"),
    "export ones.safetensors --dynamic 2": (2, "--dynamic to --to and --out"),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_told_and_nothing_is_written(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.pth").write_bytes(b"\x80\x02cposix\nsystem\n(S'touch hacked'\ntR.")
    Path("words.npz").write_text("just words, no arrays")
    save_file({"w": torch.ones(2, 2)}, "ones.safetensors")
    save_file({"fc.weight": 2 * torch.eye(2)}, "some.safetensors")
    torch.save({"w": torch.ones(2, 2)}, "mask.pth")  # noqa: TID251 - what other tools write
    torch.save({"net": {"w": 2 * torch.eye(2)}, "ema": {"w": torch.eye(2)}}, "nested.pth")  # noqa: TID251 - as above
    before = set(Path().iterdir())
    code, expected = MISTAKES[words]
    came, out, err = oneticket_cli(words, capsys)
    assert (came, out) == (code, ""), err
    assert expected in err.replace("\n", " ")
    assert set(Path().iterdir()) == before


NETWORK = """
from torch import nn


def small(classes, hidden=8):
    with open("ran", "w") as file:
        file.write("yes")
    body = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, hidden), nn.ReLU())
    return nn.Sequential(body, nn.Linear(hidden, classes))
"""


def test_own_code_nested_weights_and_open_sizes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that the ticket names by import path is run only if told to; its weights lie in a checkpoint."""
    Path("theirs.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    code, _, err = oneticket_cli(FIND.replace("lenet-300-100", "theirs:small") + " --out own --quiet", capsys)
    assert code == 0, err
    Path("ran").unlink()
    code, _, err = oneticket_cli("export own --level 2 --rounds 1", capsys)
    assert code == 2 and "theirs:small" in err and "--run-code" in err and not Path("ran").exists()

    ticket = Ticket.load("own", level=2)
    trained = {f"model.module.{name}": value + 1 for name, value in ticket.weights.items()}
    state = {"epoch": 3, "state_dict": trained, "pytorch-lightning_version": "2.5", "ema": {"w": torch.ones(1)}}
    torch.save(state, "last.ckpt")  # noqa: TID251 - what other tools write
    words = "export own --level 2 --run-code --weights last.ckpt --rounds 1"
    code, out, err = oneticket_cli(f"{words} --to dense --out d.safetensors", capsys)
    assert (code, Path("ran").exists()) == (0, True), err
    assert "its entry 'state_dict' (not ema), names without 'model.module.'" in out and "outputs within 9.5e-06" in out
    state = load_file("d.safetensors")
    assert all(
        torch.equal(state[name], (value + 1) * ticket.mask.get(name, True)) for name, value in ticket.weights.items()
    )

    code, _, err = oneticket_cli(f"{words} --key ema", capsys)
    assert code == 2 and "last.ckpt: has no 0.2.bias" in err
    code, _, err = oneticket_cli(f"{words} --to dense --out d.safetensors --dynamic 2", capsys)
    assert code == 2 and "dynamic: only an ONNX program" in err
    if not missing():
        code, out, err = oneticket_cli(
            "export own --level 2 --run-code --to onnx --out m.onnx --rounds 1 --dynamic 9", capsys
        )
        assert code == 2 and "no input has an axis 9" in err and not Path("m.onnx").exists()


def test_import_says_what_it_read_and_which_step(capsys: pytest.CaptureFixture[str]) -> None:
    masks, weights = {"fc.weight": torch.eye(2).int()}, {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}
    torch.save(masks, "mask.pth")  # noqa: TID251 - what other tools write
    torch.save(weights, "model_ep0_it50.pth")  # noqa: TID251 - as above
    code, out, err = oneticket_cli("import mask.pth --out t.safetensors", capsys)
    assert (code, "50it (step 50), as the file's name says" in out) == (0, True), err + out
    assert Ticket.load("t.safetensors").contract.step == 50
    Path("model_ep0_it50.pth").rename("model_ep2_it0.pth")
    code, _, err = oneticket_cli("import mask.pth --out u.safetensors", capsys)
    assert code == 2 and "--step" in err and not Path("u.safetensors").exists()
    code, out, err = oneticket_cli("import mask.pth --step 200 --out u.safetensors", capsys)
    assert (code, "2ep (step 200), as --step says" in out) == (0, True), err + out

    torch.save({"epoch": 1, "model": {f"module.{n}": 3 * v * torch.eye(2) for n, v in weights.items()}}, "c.pth")  # noqa: TID251
    code, out, err = oneticket_cli("import c.pth --out v.safetensors", capsys)
    assert code == 0, err
    assert "its entry 'model', names without 'module.'" in out and "0it (step 0), assumed" in out


def test_a_ticket_of_channels_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = oneticket_cli(f"{FIND} --granularity channel --scope layerwise --out c --quiet", capsys)
    assert code == 0, err
    code, out, err = oneticket_cli("export c --level 2 --rounds 1", capsys)
    assert (code, "Structured by input channels at" in out) == (0, True), err + out
    assert "Not decided which form is fastest" in out and "n = 1 round in" in out
    code, out, err = oneticket_cli("export c --level 2 --rounds 1 --to compact --out s.safetensors --json", capsys)
    assert code == 0, err
    said = json.loads(out)
    assert re.fullmatch(r"\d+ units? of fc1(, \d+ units? of fc2)?", said["removed"]), said["removed"]
    assert all({"ratio", "baseline", "to_dense"} <= form.keys() for form in said["forms"])


def test_what_a_file_says_is_not_obeyed_by_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as made:
        made.writestr("\x1b[31mred", b"x")
    code, _, err = oneticket_cli(f"import {tmp_path / 'other.npz'} --out {tmp_path / 'x.safetensors'}", capsys)
    assert (code, "\x1b" in err, "got one with \\x1b[31mred" in err) == (2, False, True), err


def test_a_c_program_tells_what_it_takes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = oneticket_cli(f"{FIND} --out a --quiet", capsys)
    assert code == 0, err
    for words, why in (
        ("--to c --out net.txt", "is written as .c, got '.txt'"),
        ("--to dense --out d.safetensors --int8", "--build and --int8 belong to --to c"),
        ("--build", "--build and --int8 belong to --to c"),
    ):
        code, _, err = oneticket_cli(f"export a --level 2 {words}", capsys)
        assert code == 2 and why in " ".join(err.split()), err
    if compiler():
        code, out, err = oneticket_cli("export a --level 2 --rounds 2 --to c --int8 --build --out net.c", capsys)
        assert code == 0, err
        said = " ".join(out.split())
        for words in ("net.c, net.h, net.so", "as of its rounded weights", "flash", "RAM", "c-int8", "instructions"):
            assert words in said, words
        x = torch.ones(2, 64)
        assert CLibrary("net.so")(x).shape == (2, 10)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "")
    code, out, err = oneticket_cli("export a --level 2 --rounds 1 --to c --out bare.c", capsys)
    assert code == 0, err
    assert "not compiled, since no C compiler was found" in " ".join(out.split()) and Path("bare.h").exists()
