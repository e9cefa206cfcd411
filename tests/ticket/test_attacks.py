"""Every kept bad file is refused, with its own message, by every way in, and without eating memory."""

import importlib.util
import resource
import tracemalloc
from pathlib import Path

import pytest

from oneticket.ground.errors import FileError
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

ATTACKS = Path(__file__).parents[2] / "attacks"
LINES = [line.strip("| \n").split(" | ") for line in (ATTACKS / "README.md").read_text("utf-8").splitlines()]
ROWS = [line for line in LINES if len(line) == 3 and line[0] != "file"]


WAYS = (file.load, file.verify, Ticket.load, Book.load)


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """What a first call imports is no memory that a file costs."""
    for way in WAYS:
        with pytest.raises(FileError):
            way(ATTACKS / "truncated.safetensors")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "what", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_refused_with_its_message_and_little_memory(name, what, expected, way):
    path = ATTACKS / f"{name}.safetensors"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(FileError) as caught:
            way(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert peak < 20 * path.stat().st_size + 2**20, "bytes that Python holds"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 2**10, "kilobytes of the whole process, tensors included"


def test_the_files_are_what_make_makes(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("attacks_make", ATTACKS / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in ATTACKS.iterdir() if path.suffix in (".safetensors", ".md")}
    assert made == kept
    assert len(ROWS) == len(made) - 1 >= 25
