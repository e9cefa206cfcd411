"""Facts that are kept are those that are computed; whatever is damaged, of other files or of other code is not used."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oneticket.data.facts import Facts
from oneticket.data.kept_facts import kept_facts, kept_selection
from oneticket.data.load import load
from oneticket.data.overlap import repeated, selection
from oneticket.data.sources import DataRequest
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError, KeptWarning
from oneticket.lottery.run_context import RunContext
from oneticket.task.inputs import Inputs
from oneticket.task.spec import TaskSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A set of two CSV files."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name, rows in (("train", 12), ("test", 6)):
        lines = [f"{row % 5},{row % 7},{'ab'[row % 2]}" for row in range(rows)]
        (folder / f"{name}.csv").write_text("\n".join(["x,y,label", *lines]) + "\n")
    return folder


def asked(name: str | Path, **more: object) -> DataRequest:
    return DataRequest(spec=DataSpec(name=str(name), **more))


def whole(facts: Facts) -> tuple[Facts, object]:
    """Facts with how the set was read, which comparing leaves out."""
    return facts, facts.reading


def notes(cache: Path) -> list[Path]:
    return sorted((cache / "facts-of-a-set").iterdir())


IMAGES = Inputs(shape=(3, 12, 12))
REQUESTS = {
    "whole": asked("digits"),
    "half": asked("digits:a"),
    "draw": asked("digits", per_class=5, draw=3, classes=4, size=12),
    "brought to a shape": DataRequest(spec=DataSpec(name="digits"), inputs=IMAGES),
    "numbers": DataRequest(spec=DataSpec(name="diabetes"), targets="numbers"),
    "series": asked("mnist1d"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_kept_facts_are_the_computed_ones(request_: DataRequest, cache: Path) -> None:
    assert kept_facts(request_, fetch=False) is None
    computed = load(request_.spec, targets=request_.targets, inputs=request_.inputs)
    kept = kept_facts(request_, fetch=False)
    assert kept is not None and whole(kept) == whole(computed.facts)
    other = DataRequest(spec=request_.spec, targets=request_.targets, inputs=Inputs(shape=(1, 20, 20)))
    assert kept_facts(other, fetch=False) is None
    first, again = (kept_selection(request_, lambda: computed), kept_selection(request_, _not_read))
    want = selection(computed)
    for one in (first, again):
        assert one.digest == want.digest
        assert np.array_equal(one.train, want.train) and np.array_equal(one.test, want.test)


def _not_read() -> object:
    raise AssertionError("read again")


def test_a_set_of_files(table: Path, cache: Path) -> None:
    computed = load(DataSpec(name=str(table)))
    kept = kept_facts(asked(table), fetch=False)
    assert kept is not None and whole(kept) == whole(computed.facts)
    (note,) = notes(cache)
    mark = note.stat()
    load(DataSpec(name=str(table)))
    assert note.stat() == mark, "a note that is there is not written again"


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda whole: whole[:-2],
    "flipped": lambda whole: whole[:-9] + bytes((whole[-9] ^ 1,)) + whole[-8:],
    "emptied": lambda _: b"",
    "foreign": lambda _: b"\xff\xfe not JSON",
    "an earlier format": lambda _: b'{"format":1,"value":{}}',
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_note_is_told_once_and_made_anew(harm: Callable[[bytes], bytes], table: Path, cache: Path) -> None:
    computed = load(DataSpec(name=str(table))).facts
    (note,) = notes(cache)
    sound = note.read_bytes()
    note.write_bytes(harm(sound))
    with pytest.warns(KeptWarning, match=f"{note}: .*; it is made anew") as caught:
        found = RunContext().facts(DataSpec(name=str(table)))
    assert len(caught) == 1 and whole(found) == whole(computed)
    assert note.read_bytes() == sound


def test_the_note_of_another_set_is_not_taken(table: Path, cache: Path) -> None:
    load(DataSpec(name="digits"))
    (other,) = notes(cache)
    load(DataSpec(name=str(table)))
    (note,) = {*notes(cache)} - {other}
    note.write_bytes(other.read_bytes())
    with pytest.warns(KeptWarning, match="it is that of"):
        assert kept_facts(asked(table), fetch=False) is None


@pytest.mark.parametrize("back", [True, False], ids=["time moved back", "time as written"])
def test_a_file_that_is_changed_in_place_is_another(back: bool, table: Path) -> None:
    before = load(DataSpec(name=str(table))).facts
    file = table / "train.csv"
    times, text = file.stat(), file.read_text()
    with file.open("r+") as open_file:
        open_file.write(text.replace("4,4,a", "4,3,a", 1))
    if back:
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (file.stat().st_ino, file.stat().st_size) == (times.st_ino, times.st_size) and file.read_text() != text
    assert kept_facts(asked(table), fetch=False) is None
    now = RunContext().facts(DataSpec(name=str(table)))
    assert now.digest != before.digest and now == load(DataSpec(name=str(table))).facts
    file.write_text(text)
    assert RunContext().facts(DataSpec(name=str(table))) == before


def test_a_file_that_is_only_touched_or_copied_is_the_same(table: Path, tmp_path: Path) -> None:
    before = load(DataSpec(name=str(table))).facts
    os.utime(table / "train.csv", ns=(1, 1))
    assert kept_facts(asked(table), fetch=False) == before
    moved = table.rename(tmp_path / "copy")
    found = kept_facts(asked(moved), fetch=False)
    if found is not None:  # what is asked for has another name, which is all that may differ
        assert found.reading is not None and found.reading.where == str(moved)
        assert found.digest == before.digest


def test_files_beside_the_set_are_told_of_as_ever(table: Path) -> None:
    load(DataSpec(name=str(table)))
    (table / "more.csv").write_text("x,y,label\n1,2,a\n")
    found, computed = RunContext().facts(DataSpec(name=str(table))), load(DataSpec(name=str(table))).facts
    assert whole(found) == whole(computed)


def test_what_another_version_kept_is_not_used(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = load(DataSpec(name=str(table))).facts
    assert kept_facts(asked(table), fetch=False) is not None
    monkeypatch.setattr("oneticket.__version__", "999.0")
    assert kept_facts(asked(table), fetch=False) is None
    assert RunContext().facts(DataSpec(name=str(table))) == computed


def test_a_set_that_changes_while_it_is_read_is_refused_and_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shades = tmp_path / "pictures", iter(range(1, 200))
    for part in ("train", "test"):
        for label in "ab":
            (folder / part / label).mkdir(parents=True)
            for number in range(2):
                shade = Image.new("RGB", (40, 40), (next(shades), 0, 0))
                shade.save(folder / part / label / f"{number}.png")
    spec, read = DataSpec(name=str(folder)), Image.open

    def meddling(*given: object, **more: object) -> Image.Image:
        Image.new("RGB", (40, 40), (255, 255, 0)).save(folder / "train" / "a" / "0.png")
        return read(*given, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", meddling)
        with pytest.raises(DataError, match="its files changed while they were read"):
            load(spec)
    assert not (cache / "facts-of-a-set").exists() and not (cache / "decoded").exists()
    found = RunContext().facts(spec)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "another"))
    assert found == load(spec).facts


@pytest.mark.parametrize("kind", ["a file", "a folder for each note"])
def test_without_a_cache_folder_facts_are_computed(
    kind: str, table: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = load(DataSpec(name=str(table))).facts
    if kind == "a file":
        blocked = table.parent / "blocked"
        blocked.write_text("")
        monkeypatch.setenv("ONETICKET_CACHE", str(blocked))
        assert kept_facts(asked(table), fetch=False) is None
        assert RunContext().facts(DataSpec(name=str(table))) == computed
        return
    (note,) = notes(cache)
    note.unlink()
    note.mkdir()
    with pytest.warns(KeptWarning):
        assert RunContext().facts(DataSpec(name=str(table))) == computed


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_cache_folder_that_may_not_be_read(table: Path, cache: Path) -> None:
    computed = load(DataSpec(name=str(table))).facts
    cache.chmod(0)
    try:
        with pytest.warns(KeptWarning):
            assert RunContext().facts(DataSpec(name=str(table))) == computed
    finally:
        cache.chmod(0o700)


def test_a_function_of_the_user_s_own_is_never_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef made():\n    x = np.zeros((4, 3), np.float32)\n    y = np.arange(4) % 2\n"
        "    return x, y, x, y\n"
    )
    monkeypatch.chdir(tmp_path)
    spec = DataSpec(name="mine.py:made")
    load(spec)
    assert kept_facts(DataRequest(spec=spec), fetch=False) is None and not (cache / "facts-of-a-set").exists()


def test_a_set_that_is_gone_is_missed(table: Path) -> None:
    load(DataSpec(name=str(table)))
    for file in table.iterdir():
        file.unlink()
    with pytest.raises(DataError):
        RunContext().facts(DataSpec(name=str(table)), TaskSpec())


def test_repeated_compares_inputs_not_their_checksums() -> None:
    seen: dict[int, int] = {}
    for number in range(2**20):
        other = seen.setdefault(zlib.crc32((number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "little")), number)
        if other != number:
            break
    one, two, three = (np.array([[each * 0x9E3779B97F4A7C15 % 2**64]], np.uint64) for each in (other, number, 0))
    assert zlib.crc32(one.tobytes()) == zlib.crc32(two.tobytes()) and one != two
    assert repeated(one, np.concatenate([two, three])) == 0
    assert repeated(np.concatenate([one, three]), np.concatenate([two, one, one, three])) == 3
    assert repeated(one[:0], two) == repeated(one, two[:0]) == 0
