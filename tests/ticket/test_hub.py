"""Tickets to and from folders and the Hub: a real server on this machine, the Hub's own client, other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from hub_server import Hub

from oneticket.ground import disk
from oneticket.ground.errors import FileError, SpecError
from oneticket.publish import hub
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

GOLDEN = Path(__file__).parent / "golden"
TICKET, BOOK = (GOLDEN / f"{kind}.safetensors" for kind in ("ticket", "book"))
ATTACKS = Path(__file__).parents[2] / "attacks"

OUTCOME = """
import json, sys
from oneticket.ground.errors import OneticketError
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
def outcome(make):
    try:
        made = make()
        return made if isinstance(made, str) else made.id
    except OneticketError as error:
        return f"{type(error).__name__}: {error}"
"""


def elsewhere(code: str, endpoint: str, home: Path, **more: str) -> Any:
    """What another process, whose Hub is `endpoint` and whose cache is `home`, says: the JSON in `said`."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    here = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1"}
    code = f"{OUTCOME}\n{code}\nprint(json.dumps(said))"
    done = forked.run("-c", code, env={**kept, **here, **quiet, **more}, warn=["error::UserWarning"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("lfs", [False, True], ids=["regular", "lfs"])
def test_round_trip_at_a_revision_and_offline(lfs: bool, tmp_path: Path, ticket: Ticket, book: Book) -> None:
    with Hub(lfs=lfs) as server:
        code = f"""
ticket, book = Ticket.load({str(TICKET)!r}), Book.load({str(BOOK)!r})
said = [
    outcome(lambda: ticket.push_to_hub("me/made", private=True, license="mit")),
    outcome(lambda: ticket.push_to_hub("me/made", revision="try", message="Again")),
    outcome(lambda: Ticket.from_pretrained("me/made")),
    outcome(lambda: Ticket.from_pretrained("hf://me/made", revision="try")),
    outcome(lambda: book.push_to_hub("me/made", revision="try")),
    outcome(lambda: Book.from_pretrained("me/made", revision="try")),
    outcome(lambda: Ticket.from_pretrained("me/made", revision="try", level=2)),
    outcome(lambda: Ticket.from_pretrained("me/made", revision="none")),
    outcome(lambda: Ticket.from_pretrained("me/made", revision="../../main")),
    outcome(lambda: Ticket.from_pretrained("me/made", filename="other.safetensors")),
    outcome(lambda: Ticket.from_pretrained("me/nowhere")),
    outcome(lambda: Ticket.from_pretrained("me/made", largest=100)),
]
"""
        said = elsewhere(code, server.url, tmp_path, HF_TOKEN="hf_test")
        repo = server.repos["me/made"]
        assert repo.private and set(repo.refs) == {"main", "try"}
        main = repo.commits[repo.refs["main"]]
        assert main["ticket.safetensors"] == TICKET.read_bytes() and b'license: "mit"' in main["README.md"]
        assert said[0] == f"{server.url}/me/made/commit/{repo.refs['main']}"
        assert "book.safetensors" in repo.commits[repo.refs["try"]] and "book.safetensors" not in main
        assert said[2:4] == [ticket.id] * 2 and said[5:7] == [book.id, book[2].id]
        for number, kind, words in (
            (7, "WrongFileError", "nothing at 'none'"),
            (8, "WrongFileError", "expected a commit, branch or tag as revision, got '../../main'"),
            (9, "WrongFileError", "holds no other.safetensors"),
            (10, "WrongFileError", "no such file or folder here, and the Hub did not provide one: RepositoryNotFound"),
            (11, "FileError", f"{TICKET.stat().st_size:,} bytes; at most 100 are fetched"),
        ):
            assert said[number].startswith(f"{kind}: me/") and words in said[number], said[number]
        assert sum(line.startswith("POST") and "/commit/" in line for line in server.log) == 3, "one commit a push"
        assert any("/upload/" in line for line in server.log) == lfs

    again = """said = [
        outcome(lambda: Ticket.from_pretrained("me/made")),
        outcome(lambda: Ticket.from_pretrained("me/made", revision="try", level=2)),
        outcome(lambda: Ticket.from_pretrained("me/other")),
        outcome(lambda: Ticket.from_pretrained("me/made", revision="old")),
        outcome(lambda: Ticket.load(%r).push_to_hub("me/made")),
    ]""" % str(TICKET)  # noqa: UP031
    said = elsewhere(again, server.url, tmp_path, HF_HUB_OFFLINE="1", HF_TOKEN="hf_test")
    assert said[:2] == [ticket.id, book[2].id]
    assert "HF_HUB_OFFLINE" in said[2] and "holds no ticket.safetensors or book.safetensors of it: fetch" in said[2]
    assert "of it at 'old'" in said[3] and "could not be pushed" in said[4]
    gone = elsewhere('said = outcome(lambda: Ticket.from_pretrained("me/made"))', server.url, tmp_path)
    assert gone == ticket.id, "a server that is gone is answered for by the cache"


def test_without_a_right_nothing_is_pushed(tmp_path: Path) -> None:
    with Hub() as server:
        push = f"said = outcome(lambda: Ticket.load({str(TICKET)!r}).push_to_hub('me/made'))"
        assert "could not be pushed to the Hub" in elsewhere(push, server.url, tmp_path)
        assert server.repos == {}
        server.closed = True
        assert "403" in elsewhere(push, server.url, tmp_path, HF_TOKEN="hf_test")
        assert list(server.repos["me/made"].commits[server.repos["me/made"].refs["main"]]) == [".gitattributes"]


def test_a_hostile_server_is_refused_and_leaves_nothing(tmp_path: Path, ticket: Ticket) -> None:
    """One process meets every lie in turn, each told about a repository of that name."""
    lies = {
        "size-huge": "has 1,125,899,906,842,624 bytes; at most 4,294,967,296 are fetched",
        "size-none": "does not say its size",
        "etag-leaves": "does not say its size, version and commit",
        "commit-leaves": "does not say its size, version and commit",
        "endless": "was said to have 999 bytes, but more came",
        "shorter": "could not be fetched",
        "broken": "the Hub failed: HfHubHTTPError",
        "throttled": "the Hub did not provide it: HfHubHTTPError",
        "forbidden": "the Hub did not provide it: HfHubHTTPError",
        "gated": "the Hub did not provide it: GatedRepoError",
        "elsewhere": "",
    }
    home = tmp_path / "home"
    with Hub() as server:
        for lie in lies:
            server.put(
                f"mallory/{lie}", {"ticket.safetensors": TICKET.read_bytes() if lie == "elsewhere" else b"x" * 999}
            )
        code = f"said = [outcome(lambda: Ticket.from_pretrained(f'mallory/{{lie}}')) for lie in {list(lies)}]"
        for (lie, words), said in zip(lies.items(), elsewhere(code, server.url, home), strict=True):
            assert said.startswith(f"FileError: mallory/{lie}: " if words else ticket.id), said
            assert words in said and "no such file" not in said, lie
        assert 0 < server.sent < 64 * 2**20, "the rest of an endless body was not read"
    kept = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 500]
    assert {path.read_bytes() for path in kept} == {TICKET.read_bytes()}, "of what was refused nothing was kept"
    assert {path.name for path in tmp_path.iterdir()} == {"home"}, "nothing was written beside the cache"


def test_what_the_hub_holds_is_checked_like_any_file(tmp_path: Path) -> None:
    bad = {"pickle": "a pickle", "bit-flipped": "the digest does not match", "name-terminal": "\\x1b"}
    with Hub() as server:
        for name in bad:
            server.put(f"mallory/{name}", {"ticket.safetensors": (ATTACKS / f"{name}.safetensors").read_bytes()})
        code = f"said = [outcome(lambda: Ticket.from_pretrained(f'mallory/{{name}}')) for name in {list(bad)}]"
        said = elsewhere(code, server.url, tmp_path)
    for found, words in zip(said, bad.values(), strict=True):
        kind = "WrongFileError" if words == "a pickle" else "FileError"
        assert found.startswith(f"{kind}: ") and words in found and "\x1b" not in found


def test_folder_round_trip(tmp_path: Path, ticket: Ticket, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket.save_pretrained(tmp_path / "mine", license="mit")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["README.md", "ticket.safetensors"]
    assert (tmp_path / "mine" / "ticket.safetensors").read_bytes() == TICKET.read_bytes()
    text = (tmp_path / "mine" / "README.md").read_text("utf-8")
    assert "# mine\n" in text and 'from_pretrained("path/to/this/folder")' in text
    for where in (tmp_path / "mine", str(tmp_path / "mine"), (tmp_path / "mine").as_uri(), str(TICKET)):
        assert Ticket.from_pretrained(where) == ticket
    assert book.push_to_hub((tmp_path / "all").as_uri()) == str(tmp_path / "all")
    assert Book.from_pretrained(tmp_path / "all") == book
    assert Ticket.from_pretrained(tmp_path / "all", density=0.1786) == book[2]
    (tmp_path / "mine" / "book.safetensors").write_bytes(BOOK.read_bytes())
    assert Ticket.from_pretrained(tmp_path / "mine", density=0.1786) == book[2], "a level is asked of the book"
    assert Ticket.from_pretrained(tmp_path / "mine") == ticket
    monkeypatch.chdir(tmp_path)
    ticket.push_to_hub("./plain")
    ticket.push_to_hub("plain")
    (tmp_path / "user" / "name").mkdir(parents=True)
    ticket.push_to_hub("user/name")
    assert Ticket.from_pretrained("user/name") == ticket == Ticket.from_pretrained("plain"), "here goes before the Hub"


def test_a_push_that_fails_leaves_the_folder_as_it_was(
    tmp_path: Path, ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    synced: list[int] = []

    def full(number: int) -> None:
        synced.append(number)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    other = Ticket(mask=ticket.mask, weights=ticket.weights, contract=ticket.contract)
    with pytest.raises(FileError, match="No space left on device; nothing was changed"):
        other.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("where", "options", "words"),
    [
        ("", {}, "the empty path: No such file or folder"),
        ("none", {}, "none: No such file or folder, and no shipped ticket; nothing there has a name near it"),
        ("digit-a", {}, "did you mean 'digits-a'? (shipped are conv-4-cifar10, digits-a,"),
        ("digit-a", {}, "). A repository on the Hub is user/name"),
        ("../none", {}, "No such file or folder, and not a Hub id"),
        ("some/best.safetensors", {}, "No such file or folder"),
        (Path("user/name"), {}, "No such file or folder"),
        ("file:///nowhere/at/all", {}, "No such file or folder"),
        ("file://otherhost/folder", {}, "of/this/machine"),
        ("https://example.org/user/name", {}, "such as hf://user/name"),
        ("hf://user/../name", {}, "such as hf://user/name"),
        (".", {"revision": "main"}, "only Hub repositories have any"),
        (".", {}, "holds no ticket.safetensors or book.safetensors; its ticket and book files: link.safetensors"),
        (".", {"filename": "../outside.safetensors"}, "leads out of the folder"),
        (".", {"filename": "/etc/passwd"}, "leads out of the folder"),
        (".", {"filename": "a\\..\\b"}, "leads out of the folder"),
        (".", {"filename": ""}, "leads out of the folder"),
        (".", {"filename": "link.safetensors"}, "a link that leads out of its folder"),
        (".", {"filename": "loop"}, "loop"),
    ],
)
def test_places_that_are_refused(
    where: str | Path, options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.safetensors").write_bytes(TICKET.read_bytes())
    (folder / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    (folder / "loop").symlink_to(folder / "loop")
    monkeypatch.chdir(folder)
    with pytest.raises(FileError) as caught:
        Ticket.from_pretrained(where, **options)
    assert words in str(caught.value)


def test_the_caches_own_links_are_followed_and_no_others(tmp_path: Path, ticket: Ticket) -> None:
    snapshot = tmp_path / "models--user--name" / "snapshots" / "abc"
    blobs = tmp_path / "models--user--name" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "123").write_bytes(TICKET.read_bytes())
    (snapshot / "ticket.safetensors").symlink_to("../../blobs/123")
    assert Ticket.from_pretrained(snapshot) == ticket
    (tmp_path / "secret").write_bytes(TICKET.read_bytes())
    (blobs / "456").symlink_to(tmp_path / "secret")
    (snapshot / "book.safetensors").symlink_to("../../blobs/456")
    with pytest.raises(FileError, match="leads out"):
        Book.from_pretrained(snapshot)


def test_pushes_that_are_refused(tmp_path: Path, ticket: Ticket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "file").write_text("x")
    for where, options, words in (
        ("results/mine", {}, "say ./results/mine to write into it, hf://results/mine for the Hub"),
        ("./results", {"revision": "main"}, "this is a plain folder"),
        ("./results", {"private": True}, "this is a plain folder"),
        ("file", {}, "expected a folder"),
        ("user", {}, "user: no folder here, and not a Hub id, user/name; say ./user to make the folder"),
        ("a/b/c", {}, "say ./a/b/c to make the folder"),
        ("https://example.org", {}, "such as hf://user/name"),
    ):
        with pytest.raises(FileError) as caught:
            ticket.push_to_hub(where, **options)
        assert words in str(caught.value), where
    with pytest.raises(SpecError, match="license: expected one line"):
        ticket.save_pretrained("results", license="mit\ntags: [evil]")
    assert {path.name for path in tmp_path.iterdir()} == {"results", "file"}
    assert list((tmp_path / "results").iterdir()) == [] and (tmp_path / "file").read_text() == "x"


def test_a_file_is_read_only_if_this_machine_can_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """800,000 weights, all pruned: 100 kB in the file, 6.4 MB as tensors, and more while they are made."""
    import torch

    from oneticket.ground import memory
    from oneticket.ticket.contract import Contract
    from oneticket.ticket.mask import Mask

    empty = torch.zeros(800_000, dtype=torch.float64)
    bomb = Ticket(mask=Mask({"w": empty != 0}), weights={"w": empty}, contract=Contract(rewind="0it", step=0))
    bomb.save(tmp_path / "bomb")
    size = (tmp_path / "bomb").stat().st_size
    assert size < 110_000
    monkeypatch.setattr(memory, "memory", lambda: 18_000_000)
    with pytest.raises(FileError, match=r"over 6,400,000 bytes of weights would take about 19,\d+,\d+ bytes of memory"):
        file.load(tmp_path / "bomb")
    monkeypatch.setattr(memory, "memory", lambda: 20_000_000)
    assert file.load(tmp_path / "bomb") == bomb
    monkeypatch.setattr(memory, "memory", lambda: 3 * size - 10_000)
    with pytest.raises(FileError, match="tensors of 100,000 bytes would take about 300,000 bytes"):
        file.load(tmp_path / "bomb")
    monkeypatch.setattr(memory, "memory", lambda: 50_000)
    with pytest.raises(FileError, match="a header of"):
        file.load(tmp_path / "bomb")
    monkeypatch.setattr(memory, "memory", lambda: None)
    assert file.load(tmp_path / "bomb") == bomb


def test_names_of_files_are_the_documented_ones() -> None:
    assert hub.NAMES == ("ticket.safetensors", "book.safetensors") and hub.CARD == "README.md"


def test_a_folder_keeps_its_own_readme_and_holds_one_thing(tmp_path):
    book = Book.from_masks(
        [Mask({"w": torch.ones(2, dtype=torch.bool)}), Mask({"w": torch.tensor([True, False])})],
        weights={"w": torch.ones(2)},
        contract=Contract(rewind="0it", step=0),
    )
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(FileError, match="is no ticket's card"):
        book[1].push_to_hub(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "README.md").unlink()
    book[1].push_to_hub(tmp_path)
    book[1].push_to_hub(tmp_path)  # its own card is written anew
    with pytest.raises(FileError, match=r"holds ticket.safetensors already"):
        book.push_to_hub(tmp_path)
    assert Ticket.from_pretrained(tmp_path) == book[1]
