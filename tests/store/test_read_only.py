"""A store that is only looked at: nothing is written or set aside, what is damaged is noted, plans are read."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from stores import LEVEL, OUTCOME, STEP, put

from oneticket.ground.errors import StoreError
from oneticket.store import names, upkeep
from oneticket.store.store import Store


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_that_would_change_it_is_refused(url: str) -> None:
    put(Store(url))
    seen = Store(url, read_only=True)
    before = seen.files.read(seen.files.sizes())
    with pytest.raises(StoreError, match="opened to be read alone; not done: write format-2"):
        put(seen, LEVEL)
    with pytest.raises(StoreError, match="not done: create .*claim of"), seen.claim(STEP):
        pass
    with pytest.raises(StoreError, match="not done: remove "):
        upkeep.gc(seen, keep=set())
    assert seen.get(STEP).record == OUTCOME.record
    assert seen.files.read(seen.files.sizes()) == before


def test_what_is_damaged_is_noted_and_stays_where_it_is(tmp_path: Path) -> None:
    put(Store(tmp_path))
    name = names.name(STEP.key, names.OUTCOME)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1] + b"!")
    before, seen = files(tmp_path), Store(tmp_path, read_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seen.find(STEP) is None
    assert files(tmp_path) == before
    assert "digest" in seen.ignored[name] or "SHA" in seen.ignored[name]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    seen = Store(tmp_path / "none", read_only=True)
    assert (seen.keys(), seen.failures(), seen.claims.holders()) == (set(), {}, {})
    assert seen.files.stamps() == {}
    assert not (tmp_path / "none").exists()


def test_folders_are_stamped_anew_when_a_file_in_them_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store)
    first = store.files.stamps()
    assert first is not None and first.keys() == {".", names.ROOM, f"{names.ROOM}/{STEP.key[:2]}"}
    put(store, LEVEL)
    second = store.files.stamps()
    assert second is not None and f"{names.ROOM}/{LEVEL.key[:2]}" in second
    assert second[names.ROOM] != first[names.ROOM]


def test_plans_are_kept_by_study_and_the_last_one_counts(url: str) -> None:
    store = Store(url)
    store.plans.write("a/b", title="One", parts={"x": [STEP.key]}, steps=[STEP.key])
    store.plans.write("a/b", title="Two", parts={"x": [STEP.key], "y": [STEP.key]}, steps=[STEP.key])
    (found,) = Store(url, read_only=True).plans.read(store.files.sizes())
    assert (found.study, found.title, found.cells, list(found.steps)) == ("a/b", "Two", [STEP.key], [STEP.key])
    assert list(upkeep.verify(store)) == []
    assert upkeep.gc(store) == []


def test_a_damaged_plan_is_told_and_found_by_verify(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.plans.write("mine", title="", parts={"x": [STEP.key]}, steps=[STEP.key])
    (name,) = store.files.sizes()
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"mine", b"your"))
    seen = Store(tmp_path, read_only=True)
    assert seen.plans.read(seen.files.sizes()) == []
    assert name in seen.ignored
    ((where, why),) = upkeep.verify(store)
    assert where == name and why is not None
