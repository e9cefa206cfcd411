"""Tickets by name, and lists of them: what is there first, near names where nothing is, bad files told as bad."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from oneticket.ground.errors import FileError
from oneticket.publish import shipped, zoo
from oneticket.publish.card import card
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

GOLDEN = Path(__file__).parent / "golden"
ATTACKS = Path(__file__).parents[2] / "attacks"


@pytest.fixture
def ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships two tickets and a book, seen from an empty folder."""
    folder, here = tmp_path / "ships", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    for name, kind in (("digits-a", "ticket"), ("fashion-conv4", "ticket"), ("whole-book", "book")):
        shutil.copy(GOLDEN / f"{kind}.safetensors", folder / f"{name}.safetensors")
    monkeypatch.setattr(shipped, "ZOO", folder)
    monkeypatch.chdir(here)
    return here


def test_what_ships_is_sound() -> None:
    """Of the real ones, however many there are: each loads by its name, and tells where it was found."""
    for entry in zoo.entries():
        assert isinstance(entry.thing, Ticket | Book), entry.problem
        assert entry.size < 2_000_000, "a zoo in a package is small"
        if isinstance(entry.thing, Ticket):
            assert Ticket.load(entry.name) == entry.thing


def test_what_ships_may_be_shared() -> None:
    """Every one says a licence of the data that it was found on, and none is for non-commercial use alone."""
    for entry in zoo.entries():
        assert entry.thing is not None
        text = card(entry.thing, name=entry.name, data_license=shipped.DATA_LICENCES.get(entry.name))
        licence = text.rpartition("- the data it was found on: ")[2].strip()
        assert licence != "not known" and "non-commercial" not in licence, entry.name


def test_a_shipped_ticket_loads_by_name_and_a_path_goes_first(ships: Path, ticket: Ticket, book: Book) -> None:
    assert Ticket.load("digits-a") == ticket
    assert Ticket.load("whole-book", level=1) == book[1]
    assert Ticket.from_pretrained("digits-a") == ticket
    assert Ticket.from_pretrained("whole-book", level=1) == book[1] and Book.from_pretrained("whole-book") == book
    with pytest.raises(FileError, match="only Hub repositories have any"):
        Ticket.from_pretrained("digits-a", revision="main")
    book[2].save(ships / "digits-a")
    assert Ticket.load("digits-a") == Ticket.from_pretrained("digits-a") == book[2] != ticket


def test_one_ticket_is_told_from_a_place_of_several(ships: Path, ticket: Ticket) -> None:
    ticket.save(ships / "mine.safetensors")
    assert zoo.single("digits-a") == shipped.ZOO / "digits-a.safetensors"
    assert zoo.single("mine.safetensors") == Path("mine.safetensors")
    assert zoo.single((ships / "mine.safetensors").as_uri()) == ships / "mine.safetensors"
    assert zoo.single(".") is zoo.single("hf://nobody") is zoo.single("hf://digits_a") is None
    for place in (zoo.single, lambda where: list(zoo.entries(where))):
        with pytest.raises(FileError, match="digits_a: .*did you mean 'digits-a'.*a Hub user, write hf://digits_a"):
            place("digits_a")
        with pytest.raises(FileError, match="nobody: .*shipped are digits-a,.*For a Hub user, write hf://nobody"):
            place("nobody")
    (ships / "digits_a").mkdir()
    assert zoo.single("digits_a") is None, "what is there goes first"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("digit-a", "no shipped ticket; did you mean 'digits-a'? (shipped are digits-a, fashion-conv4, whole-book)"),
        ("xyz", "nothing there has a name near it (shipped are"),
        ("mine.safetensor", "did you mean 'mine.safetensors'?"),
        ("gone/mine.safetensors", "the folder gone is empty or not there"),
        ("", "the empty path: No such file"),
    ],
)
def test_a_name_that_is_nowhere(where: str, words: str, ships: Path, ticket: Ticket) -> None:
    ticket.save(ships / "mine.safetensors")
    with pytest.raises(FileError) as caught:
        Ticket.load(where)
    assert words in str(caught.value) and "No such file or folder" in str(caught.value)


def test_a_folder_is_listed_with_its_bad_files(ships: Path, ticket: Ticket, book: Book) -> None:
    ticket.save(ships / "one.safetensors")
    ticket.save_pretrained(ships / "two")
    book.save(ships / "two" / "book.safetensors")
    ticket.save(ships / "deep" / "er" / "ticket.safetensors")
    ticket.save(ships / ".hidden.safetensors")
    shutil.copy(ATTACKS / "pickle.safetensors", ships)
    (ships / "away.safetensors").symlink_to(GOLDEN / "ticket.safetensors")
    (ships / "folder.safetensors").mkdir()
    (ships / "readme.txt").write_text("x")
    found = {entry.name: entry for entry in zoo.entries(str(ships))}
    assert {name for name, entry in found.items() if entry.thing is not None} == {
        "one.safetensors",
        "two/ticket.safetensors",
        "two/book.safetensors",
    }
    bad = {name: entry.problem for name, entry in found.items() if entry.thing is None}
    assert set(bad) == {"pickle.safetensors", "away.safetensors", "folder.safetensors"}
    assert bad["pickle.safetensors"].startswith("a pickle") and "is a folder" in bad["folder.safetensors"]
    assert "leads out of its folder" in bad["away.safetensors"]
    assert found["one.safetensors"].thing == ticket and found["two/book.safetensors"].thing == book
    assert found["one.safetensors"].size == (GOLDEN / "ticket.safetensors").stat().st_size
    assert [entry.thing for entry in zoo.entries(ships / "one.safetensors")] == [ticket]
    with pytest.raises(FileError, match="not a Hub collection or repository"):
        list(zoo.entries("./nowhere"))
