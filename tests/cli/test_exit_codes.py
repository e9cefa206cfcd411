"""Exit codes: 2 where the request is wrong; 1 where it was right, and something failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from commands import oneticket_cli

from oneticket.cli.mistakes import exit_code
from oneticket.data import hub
from oneticket.export import onnx
from oneticket.ground import errors
from oneticket.ground.errors import (
    DataError,
    ModelError,
    OneticketError,
    PruneError,
    RequestError,
    SpecError,
    TrainingError,
    WrongStoreError,
    WrongTransferError,
)
from oneticket.pruning.select import checked
from oneticket.store.store import Store
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

FIND = "find --model mlp --widths 8 --levels 1 --budget 2it --rewind 1it --quiet --out o"
OWN = FIND.replace("--model mlp --widths 8", "--data digits:a")
WRONG = (
    "show nowhere",
    "show empty",
    "show some.png",
    "show base.toml",
    "show torch.zip",
    "import base.toml --out i",
    "import some.png --out i",
    "import list.pth --out i",
    "verify nowhere",
    "zoo empty",
    "zoo hf://",
    "zoo --for ./nowhere",
    f"{FIND} --data ./nowhere",
    f"{FIND} --data no.csv",
    f"{FIND} --data ./empty",
    f"{FIND} --data base.toml",
    f"{FIND} --data ./neither",
    f"{FIND} --data org/",
    f"{FIND} --data mine.py:number",
    f"{FIND} --data torch.zip.npz",
    f"{OWN} --model mine.py:number",
    f"{OWN} --model mine.py:nothing",
    f"{FIND} --data digits:a --store nosuch://x/y",
    f"{FIND} --data digits:a --engine processes --store memory://x",
    f"{FIND} --data digits:a --store s3://",
    f"{FIND} --data digits:a --store name:place",
    "transfer nowhere --data digits:b",
    "transfer digits-a --data ./no.npz --quiet",
    "consensus digits-a digits-a --out c",
    "status demo --store nosuch://x",
    "score nowhere rows.csv",
    "score empty rows.csv",
    "push nowhere user/name",
    "push digits-a nouser",
    "pull nowhere --out p",
    "pull digits-a --out empty",
    "pull digits-a --level 3 --out p",
    "pull http://x --out p",
    "import no.pth --out i",
    "import empty --out i",
    "import mask.npz --out i",
    "import mask.npz --weights mask.npz --key no --out i",
    "export nowhere",
    "export digits-a --density 0.5",
    "export digits-a --weights no.pth",
    "export digits-a --weights mask.npz",
    "export digits-a --to 2:4 --out x.safetensors",
)
FAILS = (
    "show damaged.safetensors",
    "verify damaged.safetensors",
    "transfer damaged.safetensors --data digits:b",
    "import damaged.npz --out i",
    f"{FIND} --data ./damaged.npz",
    f"{FIND} --data ./damaged",
    f"{FIND} --data mine.py:broken",
    f"{OWN} --model mine.py:broken",
    "pull digits-a --out damaged.npz/p",
    f"{FIND.replace('2it', '9it')} --data digits:a --lr 1e30 --momentum 0",
)
REQUESTS = {
    "RequestError",
    "SelectionError",
    "SpecError",
    "WrongDataError",
    "WrongFileError",
    "WrongModelError",
    "WrongPruneError",
    "WrongStoreError",
    "WrongTransferError",
}
FAILURES = {
    "DataError",
    "FileError",
    "GuardError",
    "ModelError",
    "OneticketError",
    "PruneError",
    "StoreError",
    "TrainingError",
    "TransferError",
}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    Path("empty").mkdir()
    Path("mine.py").write_text("def number(**given):\n    return 1\n\n\ndef broken(classes=0):\n    return 1 / 0\n")
    Path("base.toml").write_text("levels = [1]\n")
    Path("some.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(32))
    torch.save({"fc.weight": torch.eye(4)}, "torch.zip")  # noqa: TID251
    torch.save([1], "list.pth")  # noqa: TID251
    Path("torch.zip.npz").write_bytes(Path("torch.zip").read_bytes())
    Path("damaged.safetensors").write_bytes(bytes(range(200, 240)))
    Path("damaged.npz").write_bytes(Path("torch.zip").read_bytes()[:99])
    for name, file, text in (("neither", "notes.xyz", "words"), ("damaged", "train.jsonl", '{"x": ')):
        Path(name).mkdir()
        Path(name, file).write_text(text)
    numpy.savez("mask.npz", **{"fc.weight": numpy.eye(4).astype(bool)})


@pytest.mark.parametrize(("words", "code"), [*((each, 2) for each in WRONG), *((each, 1) for each in FAILS)])
def test_the_code_says_whether_the_request_was_wrong(words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    came, _, err = oneticket_cli(words, capsys)
    assert came == code, err


def test_scores_that_are_nan_are_a_failure() -> None:
    mask = Mask.full({"w": (2,)})
    with pytest.raises(PruneError, match="did the training diverge") as caught:
        checked("w", {"w": torch.tensor([torch.nan, 1.0])}, mask)
    assert exit_code([caught.value]) == 1


@pytest.mark.parametrize(
    "asked", [{"head": "bald"}, {"fresh": ("none.*",)}, {"names": {"none": "0.weight"}}, {"head": "keep"}]
)
def test_a_network_that_does_not_fit_is_a_mistake(asked: dict[str, Any]) -> None:
    with torch.random.fork_rng(devices=[]):
        small, other = (torch.nn.Sequential(torch.nn.Linear(2, outputs)) for outputs in (3, 4))
    ticket = Ticket(
        mask=Mask({"0.weight": torch.ones(3, 2) > 0}),
        weights=small.state_dict(),
        contract=Contract(rewind="0it", step=0),
    )
    with pytest.raises(WrongTransferError):
        ticket.apply(other, **asked)


def test_a_program_that_breaks_is_a_failure() -> None:
    with pytest.raises(ModelError, match="does not take this program") as caught:
        onnx.session(b"no program")
    assert exit_code([caught.value]) == 1


def test_damaged_data_are_told_with_their_cause() -> None:
    with pytest.raises(DataError, match=r"damaged: the datasets library cannot load its files: .*; .*") as caught:
        hub.local(Path("damaged"))
    assert exit_code([caught.value]) == 1


@pytest.mark.parametrize("url", ["s3://", "s3://b ucket/x", " ", "s3:///x"])
def test_a_store_needs_an_address(url: str) -> None:
    with pytest.raises(WrongStoreError):
        Store(url)


def test_every_error_is_on_one_side() -> None:
    """A new class has to be put on one of the lists; what can be on both sides has a class for each."""
    found = {
        name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, OneticketError)
    }
    assert {name for name, one in found.items() if issubclass(one, RequestError)} == REQUESTS
    assert {name for name, one in found.items() if not issubclass(one, RequestError)} == FAILURES
    for name in REQUESTS:
        if name.startswith("Wrong"):
            assert found[name].__bases__ == (RequestError, found[name.removeprefix("Wrong")])
    failed = TrainingError("it broke off")
    assert [exit_code(each) for each in ([], [SpecError()], [failed], [SpecError(), failed])] == [0, 2, 1, 1]
