"""The index of a store changes no answer: without it, with it, damaged, out of date, or while others write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest

from oneticket.store import index, names
from oneticket.store.files import FolderFiles
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store

STEPS = [Step(kind="rewind", args={"seed": seed}) for seed in range(12)]
KEYS = [step.key for step in STEPS]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is written for a few entries, too, and counts although they were written just now."""
    monkeypatch.setattr(index, "WORTH", 1)
    monkeypatch.setattr(index, "MOMENT", 0)


def filled(url: str | Path, steps: list[Step] = STEPS) -> Store:
    store = Store(url)
    store.define(*steps)
    for step in steps:
        store.put(step, Outcome(record={"seed": step.args["seed"]}, tensors={}), seconds=1.5, device="cpu")
    return store


def answers(url: str | Path) -> dict[str, Any]:
    """All that is asked of the index."""
    store = Store(url)
    with store.indexed():
        return {
            "there": store.there(KEYS),
            "definitions": store.definitions(KEYS),
            "provenances": store.provenances(KEYS),
        }


def without(url: str | Path) -> dict[str, Any]:
    store = Store(url)
    asked = store.there(KEYS), store.definitions(KEYS), store.provenances(KEYS)
    return dict(zip(("there", "definitions", "provenances"), asked, strict=True))


class Counted(FolderFiles):
    """Files that note what is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read_names: list[str] = []

    def read(self, names: Any, *, end: int | None = None) -> dict[str, bytes]:
        asked = list(names)
        self.read_names += asked
        return super().read(asked, end=end)


def counted(path: Path) -> list[str]:
    store = Store(path)
    store.files = files = Counted(path)
    with store.indexed():
        store.there(KEYS), store.definitions(KEYS), store.provenances(KEYS)
    return files.read_names


def test_with_an_index_no_entry_is_read(tmp_path: Path) -> None:
    filled(tmp_path)
    assert len(counted(tmp_path)) == 3 * len(STEPS)
    assert counted(tmp_path) == [names.INDEX]
    assert answers(tmp_path) == without(tmp_path)
    assert len(without(tmp_path)["there"]) == len(STEPS)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "one bit": flip,
    "another program's": lambda path: path.write_bytes(b"[]\n{}"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_index_changes_no_answer_and_is_made_anew(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    filled(tmp_path)
    before = answers(tmp_path)
    damage(tmp_path / names.INDEX)
    assert answers(tmp_path) == before == without(tmp_path)
    assert counted(tmp_path) == [names.INDEX]


@pytest.mark.filterwarnings("ignore::oneticket.ground.errors.KeptWarning")
def test_an_index_that_is_out_of_date_changes_no_answer(tmp_path: Path) -> None:
    store = filled(tmp_path, STEPS[:9])
    answers(tmp_path)
    old = (tmp_path / names.INDEX).read_bytes()
    cut(tmp_path / names.name(KEYS[0], names.OUTCOME))
    (tmp_path / names.name(KEYS[1], names.OUTCOME)).unlink()
    (tmp_path / names.name(KEYS[2], names.PROVENANCE)).write_bytes(b"")
    cut(tmp_path / names.name(KEYS[3], names.DEFINITION))
    other = store.files.read([names.name(KEYS[5], names.DEFINITION)])
    store.files.write({names.name(KEYS[4], names.DEFINITION): next(iter(other.values()))})
    filled(tmp_path, STEPS[9:])
    now = without(tmp_path)
    assert now["there"] == {*KEYS[2:]} and {*KEYS} - now["definitions"].keys() == {KEYS[3], KEYS[4]}
    assert answers(tmp_path) == now
    (tmp_path / names.INDEX).write_bytes(old)  # as by a slower process that listed before all this
    assert answers(tmp_path) == now == answers(tmp_path)


def test_what_changed_just_before_the_index_was_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    answers(tmp_path)
    monkeypatch.setattr(index, "MOMENT", 10**18)
    assert len(counted(tmp_path)) == 1 + 3 * len(STEPS)


def test_a_place_that_takes_no_index_answers_all_the_same(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / names.INDEX).mkdir()
    assert answers(tmp_path) == without(tmp_path)


RACE = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2])))
from test_index import STEPS, filled
for turn in range(3):
    filled(sys.argv[1], STEPS[turn::3])
"""


def test_answers_while_another_process_writes_and_indexes(tmp_path: Path) -> None:
    other = forked.Child("-c", RACE, tmp_path, Path(__file__).parent)
    seen: set[str] = set()
    while other.process.exitcode is None:
        now = answers(tmp_path)
        assert seen <= now["there"] and now["there"] <= now["provenances"].keys()
        seen = now["there"]
    ended = other.end()
    other.kill()
    assert ended.returncode == 0, ended.stderr
    assert answers(tmp_path) == without(tmp_path)
    assert answers(tmp_path)["there"] == {*KEYS}


def test_on_an_object_store_one_read_answers_all(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(s3)
    first = answers(s3)
    assert first == without(s3)
    store, asked = Store(s3), list[str]()
    read = store.files.read

    def note(some: Any, **more: Any) -> dict[str, bytes]:
        asked.extend(some := list(some))
        return read(some, **more)

    monkeypatch.setattr(store.files, "read", note)
    with store.indexed():
        assert store.there(KEYS) == first["there"] and store.definitions(KEYS) == first["definitions"]
    assert asked == [names.INDEX]
    store.files.remove([names.name(KEYS[0], names.OUTCOME)])
    assert answers(s3)["there"] == {*KEYS[1:]}
