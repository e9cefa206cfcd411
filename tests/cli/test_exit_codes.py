"""Exit codes: 2 where the request is wrong; 1 where it was right, and something failed."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from commands import oneticket_cli

from oneticket.cli.mistakes import exit_code
from oneticket.ground import errors
from oneticket.ground.errors import OneticketError, RequestError, SpecError, TrainingError

FIND = "find --model mlp --widths 8 --levels 1 --budget 2it --rewind 1it --quiet --out o"
WRONG = (
    "show nowhere",
    "show empty",
    "verify nowhere",
    "zoo empty",
    "zoo hf://",
    "zoo --for ./nowhere",
    f"{FIND} --data ./nowhere",
    f"{FIND} --data no.csv",
    f"{FIND} --data ./empty",
    f"{FIND} --data org/",
    f"{FIND} --data mine.py:number",
    f"{FIND} --data digits:a --model mine.py:number",
    f"{FIND} --data digits:a --store nosuch://x/y",
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
    "pull digits-a --out damaged.npz/p",
    f"{FIND.replace('2it', '9it')} --data digits:a --lr 1e30 --momentum 0",
)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    Path("empty").mkdir()
    Path("mine.py").write_text("def number(**given):\n    return 1\n")
    Path("damaged.safetensors").write_text("not what it was")
    Path("damaged.npz").write_text("not what it was")
    numpy.savez("mask.npz", **{"fc.weight": numpy.eye(4).astype(bool)})


@pytest.mark.parametrize(("words", "code"), [*((each, 2) for each in WRONG), *((each, 1) for each in FAILS)])
def test_the_code_says_whether_the_request_was_wrong(words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    came, _, err = oneticket_cli(words, capsys)
    assert came == code, err


def test_every_error_is_on_one_side() -> None:
    """By its base alone: what can be on both sides has a class for each."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, OneticketError)]
    assert {one.__name__ for one in found if one.__name__.startswith("Wrong")} == {
        one.__name__ for one in found if issubclass(one, RequestError) and len(one.__bases__) == 2
    } - {"SelectionError"}
    failed = TrainingError("it broke off")
    assert [exit_code(each) for each in ([], [SpecError()], [failed], [SpecError(), failed])] == [0, 2, 1, 1]
