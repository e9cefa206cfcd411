"""Files in memory do what files in a folder do."""

from __future__ import annotations

from pathlib import Path

from oneticket.store.files import Files, files_at
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store


def answers(files: Files) -> list[object]:
    """What files answer to the same questions."""
    files.write({"a/one": b"1234", "a/two": b"2", "b/three": b"3"})
    said: list[object] = [files.create("a/one", b"other"), files.create("c", b"new"), files.size("c"), files.size("d")]
    files.move("a/two", "b/moved")
    files.remove(["b/three", "never"])
    return [*said, files.sizes(), files.sizes("a"), files.read(["a/one", "b/moved", "d"], end=2), files.read(["c"])]


def test_memory_answers_as_a_folder_does(tmp_path: Path) -> None:
    in_folder = answers(files_at(tmp_path / "folder"))
    assert answers(files_at(None)) == in_folder
    assert in_folder[:4] == [False, True, 3, None]


def test_each_store_in_memory_is_its_own() -> None:
    step, one, other = Step(kind="rewind", args={"seed": 0}), Store(None), Store(None)
    assert one.put(step, Outcome(record={"a": 1}, tensors={}), seconds=0.1, device="cpu") == "kept"
    assert one.get(step).record == {"a": 1} and not other.has(step)
