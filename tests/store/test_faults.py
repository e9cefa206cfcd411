"""In the manner of SQLite's tests: every single call on a file fails once; nothing is lost or untrue after."""

from __future__ import annotations

import contextlib
import errno
import warnings
from pathlib import Path

import pytest
from faults import WRITES, Faults, faulty
from stores import SPEC, content

from oneticket.cli.find import save_book
from oneticket.engine.engine import Engine, run
from oneticket.ground.errors import KeptWarning, OneticketError
from oneticket.lottery.run_context import RunContext
from oneticket.store import claim
from oneticket.store.store import Store
from oneticket.study.origins import search_origin


def work(root: Path) -> None:
    """A search that is stopped once within its level and goes on; then its book."""
    store, seen = Store(root / "store"), list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONETICKET_CACHE", str(root / "cache"))
        origin = search_origin(SPEC, levels=0, replicate=0, context=RunContext())
        stopped = RunContext(watchers=(lambda run: seen.append(run.position),), stop=lambda: len(seen) == 4)
        for context in (stopped, RunContext()):
            try:
                piles = run(origin.levels, store=store, context=context, engine=Engine(name="inline"))
            except KeyboardInterrupt:
                continue
            for _, error in piles.failed:
                raise error
    save_book(origin, store, root / "book.safetensors")


def left(root: Path) -> dict[str, bytes]:
    """The store's entries and the book."""
    return content(Store(root / "store")) | {"book": (root / "book.safetensors").read_bytes()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    """What is left when nothing fails, and the calls that it takes."""
    root = tmp_path_factory.mktemp("straight")
    work(tmp_path_factory.mktemp("before"))  # what a process does once, such as timing its layers, is done
    with faulty(Faults(root)) as faults:
        work(root)
    return left(root), faults.calls


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that could not be removed is soon taken for dead."""
    monkeypatch.setattr(claim, "PATIENCE", 0.2)


def check(root: Path, faults: Faults, expected: dict[str, bytes]) -> None:
    """Work with these faults: the same is left, or an error in words; and then, without them, the same with no loss."""
    done = False
    with faulty(faults), warnings.catch_warnings(), contextlib.suppress(OneticketError):
        warnings.simplefilter("ignore", KeptWarning)  # what cannot be read is told
        work(root)
        done = True
    assert not done or left(root) == expected
    what = faults.calls[faults.at - 1]
    torn = [path for path in root.rglob(".*") if path.is_file()]
    assert what == "unlink" or not torn, f"{what} left {torn}"
    work(root)  # any warning is an error: nothing may look damaged
    assert left(root) == expected, what


def test_the_run_meets_every_kind_of_call(undisturbed: tuple[dict[str, bytes], list[str]]) -> None:
    _, calls = undisturbed
    assert {"open", "read", "unlink", "scandir", *WRITES} - set(calls) == {"rename"}
    assert len(calls) < 250, "each costs a run of its own"
    renamed = [number for number, what in enumerate(calls) if what == "replace"]
    # The content is on the disk before the name, and the folder with the name before anything else is done.
    assert all(calls[at - 1] == "fsync" and calls[at + 1 : at + 3] == ["open", "fsync"] for at in renamed)


@pytest.mark.slow
def test_any_call_may_fail_once(undisturbed: tuple[dict[str, bytes], list[str]], tmp_path: Path) -> None:
    expected, calls = undisturbed
    for at in range(1, len(calls) + 1):
        check(tmp_path / str(at), Faults(tmp_path / str(at), at=at), expected)


@pytest.mark.slow
def test_the_disk_may_be_full_from_any_write_on(
    undisturbed: tuple[dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    expected, calls = undisturbed
    for at in [number for number, what in enumerate(calls, start=1) if what in WRITES]:
        faults = Faults(tmp_path / str(at), at=at, number=errno.ENOSPC, lasting=True)
        check(tmp_path / str(at), faults, expected)
