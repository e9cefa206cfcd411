"""A URL's password opens the store, and stands in nothing that is printed, shown, raised or written."""

from __future__ import annotations

import pytest
from commands import oneticket_cli
from stores import OUTCOME, STEP, put

from oneticket.board.board import Board
from oneticket.board.gate import Request
from oneticket.board.site import answer
from oneticket.ground.errors import KeptWarning, StoreError
from oneticket.store import names
from oneticket.store.store import Store
from oneticket.store.upkeep import verify

URL, SHOWN = "memory://ann:s3cret@host/kept", "memory://ann:***@host/kept"
STUDY = """
levels = [1]
arms = ["dense", "ticket"]
replicates = 1
rewind = "1it"
training = {budget = "2it", batch = 16}
models = {net = {name = "mlp", widths = [4]}}
optimizers = {sgd = "sgd"}
parts = {p = {sources = ["digits:a"], targets = ["digits:b"]}}
"""
COMMANDS = (
    "study mine.toml --engine inline",
    "study mine.toml --dry-run",
    "study mine.toml --dry-run --json",
    "status mine.toml",
    "status mine.toml --json",
    "report mine.toml --out report",
    "store ls",
    "store ls --json",
    "store verify",
    "store verify --json",
    "store show ffffff",
    "store gc",
)


def test_no_command_prints_it_and_no_file_has_it(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(STUDY)
    shown = set()
    for command in COMMANDS:
        code, out, err = oneticket_cli(f"{command} --store {URL}", capsys)
        assert code == (2 if "ffffff" in command else 0), (command, err)
        assert "s3cret" not in out + err, command
        shown |= {command} if SHOWN in "".join((out + err).split()) else set()
    assert shown >= {"study mine.toml --engine inline", "status mine.toml --json", "store ls", "store show ffffff"}
    store = Store(URL)
    contents = store.files.read(store.files.sizes())
    assert len(contents) > 5 and not any(b"s3cret" in content for content in contents.values())
    assert not any(b"s3cret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_mistake_beside_it_is_named_without_it(capsys) -> None:
    for words in (f"store ls {URL}", f"status {URL}"):
        code, out, err = oneticket_cli(words, capsys)
        assert code == 2 and "s3cret" not in out + err and "ann:***@host" in "".join(err.split()), err


def test_the_board_shows_the_store_without_it() -> None:
    put(Store(URL))
    board = Board(URL, ())
    with board.reading():
        pages = [answer(board, Request(steps=steps)).body for steps in ((), ("outcomes",), ("nothing",))]
    assert all("s3cret" not in str(page) and SHOWN in str(page) for page in pages)


def test_errors_and_warnings_name_the_store_without_it() -> None:
    store = Store(URL)
    assert (store.url, store.location, Store(store.location).url) == (SHOWN, URL, SHOWN)
    store.put(STEP, OUTCOME, seconds=0.0, device="cpu")
    store.files.write({names.name(STEP.key, names.OUTCOME): b"damaged"})
    assert {trouble for _, trouble in verify(store) if trouble and SHOWN in trouble}
    store.files.write({names.name(STEP.key, names.OUTCOME): b"damaged"})
    with pytest.warns(KeptWarning, match="ann:") as caught:
        assert store.find(STEP) is None
    assert not any("s3cret" in str(each.message) for each in caught)
    with pytest.raises(StoreError, match="ann:") as refused:
        store.get(STEP)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(StoreError, match="cannot be opened") as refused:
        Store("ftp://ann:s3cret@127.0.0.1:9/kept")
    assert "s3cret" not in str(refused.value)


def test_what_a_filesystem_says_of_a_path_is_said_without_it() -> None:
    """Paths of some filesystems begin with the whole URL."""
    store = Store("https://ann:s3cret@127.0.0.1:9/kept")
    with pytest.raises(StoreError, match="ann:") as refused:
        store.has(STEP)
    assert "s3cret" not in str(refused.value)
