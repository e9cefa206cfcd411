"""What no store can do to a board over it, whoever wrote it: stop it, hide the rest, or stay after it is gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boards import Served, serving
from test_pages import RECORD, text, trained
from waiting import until

from oneticket.board import layers
from oneticket.board.board import Board
from oneticket.ground import canon, note
from oneticket.ground.errors import SpecError
from oneticket.lottery.spec import TransferSpec
from oneticket.store import entry, names
from oneticket.store.claim import _machine
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store

Serve = Callable[..., Any]
SPEC = TransferSpec(data="digits:b")
TRAINING = {"start": 0, "each": 1, "losses": [1.0, 2.0], "lr": 0.1, "seconds": 1e308}


def filled(folder: Path) -> list[Step]:
    """A store of two outcomes and a step that is planned."""
    steps, store = [trained(number, SPEC) for number in range(3)], Store(folder)
    store.define(*steps)
    for step in steps[:2]:
        store.put(step, Outcome(record=RECORD, tensors={}), seconds=1.0, device="cpu")
    keys = [step.key for step in steps]
    store.plans.write("kept", title="", parts={"x": keys}, steps=keys)
    return steps


def defined(folder: Path, kind: Any, args: Any, needs: Any, record: dict[str, Any] | None = None) -> str:
    """An outcome whose definition has the right digest, whatever it says."""
    key = canon.digest([kind, 3, args, needs])
    place = folder / names.name(key, names.DEFINITION)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(canon.dumps({"kind": kind, "version": 3, "args": args, "needs": needs}))
    outcome = Outcome(record=record or {}, tensors={})
    (folder / names.name(key, names.OUTCOME)).write_bytes(entry.encode(key, outcome))
    return key


def _in_place_of_a_file(make: Callable[[Path], object], what: str) -> Callable[[Path, list[Step]], None]:
    def attack(folder: Path, steps: list[Step]) -> None:
        place = folder / names.name(steps[0].key, what)
        place.unlink()
        make(place)

    return attack


def _definitions(folder: Path, _steps: list[Step]) -> None:
    for kind, args, needs in [
        (["x"], {}, []),
        ("transfer", [1], []),
        ("transfer", {}, {"a": 1}),
        ("transfer", {}, [5]),
        ("transfer", {}, ["../../etc/passwd\0"]),
        ("transfer", {"spec": 5, "x": "\ud800"}, []),
        ("level", {"level": "x", "target": []}, []),
    ]:
        defined(folder, kind, args, needs)
    for number, record in enumerate(
        [{**RECORD, "score": 10**400}, {"density": 10**400}, {**RECORD, "metric": "\ud800\x00<b>"}]
    ):
        defined(folder, "transfer", {"number": number}, [], record)


def _claims(folder: Path, steps: list[Step]) -> None:
    huge = {"host": "\ud800", "pid": 1, "training": {**TRAINING, "position": 10**400, "total": 10**400}}
    contents = [canon.dumps(huge), "[" * 100_000]
    contents += [canon.dumps({"machine": _machine(), "pid": pid}) for pid in ("x", None, 10**30)]
    for number, content in enumerate(contents):
        place = folder / names.name(steps[2].key if not number else f"{number}" * 64, names.CLAIM)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


def _notes(folder: Path, steps: list[Step]) -> None:
    for step, what in ((steps[2], names.FAILURE), (steps[0], names.PROVENANCE)):
        name = names.name(step.key, what)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(note.write("note of a store", name, [1]))
    Store(folder).note_failure(steps[1], "\ud800 \u202e")


ATTACKS: dict[str, Callable[[Path, list[Step]], object]] = {
    "a folder for a definition": _in_place_of_a_file(Path.mkdir, names.DEFINITION),
    "a pipe for a definition": _in_place_of_a_file(os.mkfifo, names.DEFINITION),
    "a pipe for an outcome": _in_place_of_a_file(os.mkfifo, names.OUTCOME),
    "a pipe for a plan": lambda folder, _: os.mkfifo(folder / names.ROOM / "plans" / "other.json"),
    "an endless plan": lambda folder, _: (folder / names.ROOM / "plans" / "other.json").symlink_to("/dev/zero"),
    "a link to itself": lambda folder, _: (folder / names.ROOM / "plans" / "a.json").symlink_to("a.json"),
    "a name in no encoding": lambda folder, _: (
        folder / names.ROOM / "plans" / os.fsdecode(b"\xff.damaged")
    ).write_text(""),
    "definitions of any shape": _definitions,
    "claims of any shape": _claims,
    "notes of any shape": _notes,
}


@pytest.mark.skipif(os.name != "posix", reason="pipes, links and names of Linux")
@pytest.mark.parametrize("name", ATTACKS)
def test_no_file_of_a_store_stops_the_board_or_a_run(name: str, tmp_path: Path, serve: Serve) -> None:
    steps = filled(tmp_path)
    ATTACKS[name](tmp_path, steps)
    with serve(tmp_path) as served:
        served.read()
        for path in ("/", "/outcomes", "/compare", "/studies/kept", *_outcomes(served)):
            reply = served.get(path)
            assert reply.status == 200, (path, reply.text)
        assert f"/steps/{steps[1].key}" in served.get("/outcomes").text
    store = Store(tmp_path, read_only=True)  # what a run asks of it
    assert steps[1].key in set(store.keys())
    store.claims.holders()
    store.failures()


def _outcomes(served: Served) -> list[str]:
    return [f"/steps/{key}" for key in served.board.view.look().outcomes]


def test_a_damaged_file_that_was_made_anew_is_not_told_any_more(tmp_path: Path, serve: Serve) -> None:
    steps = filled(tmp_path)
    outcome, definition = (tmp_path / names.name(steps[0].key, what) for what in (names.OUTCOME, names.DEFINITION))
    plan = next((tmp_path / names.ROOM / "plans").iterdir())
    right = {path: path.read_bytes() for path in (outcome, definition, plan)}
    for path, data in right.items():
        path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])  # as long as before
    with serve(tmp_path) as served:
        served.read()
        assert "3 damaged or unreadable" in text(served.get("/").text)
        for path, data in right.items():
            beside = path.with_name("beside")
            beside.write_bytes(data)
            beside.rename(path)
        until(lambda: "damaged or unreadable" not in text(served.get("/").text), "the warning gone")
        served.read()
        assert text(served.get("/outcomes").text).count("50.0 %") == 2
        assert "2 of 3 cells" in text(served.get("/").text)


def test_nothing_is_left_of_a_store_that_is_gone_or_another(tmp_path: Path, serve: Serve) -> None:
    place, other = tmp_path / "store", tmp_path / "other"
    steps = filled(place)
    Store(place).note_failure(steps[2], "it broke")
    filled(other)
    with serve(place) as served:
        served.read()
        assert "it broke" in text(served.get("/").text)
        shutil.rmtree(place)
        assert "There is no store here yet" in text(served.get("/").text)
        assert "No outcomes yet" in text(served.get("/outcomes").text)
        assert served.get(f"/steps/{steps[0].key}").status == 404
        other.rename(place)
        assert "2 of 3 cells" in text(served.get("/").text) and "it broke" not in text(served.get("/").text)


def test_only_outcomes_that_fit_stay_in_memory(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = filled(tmp_path)
    monkeypatch.setattr(layers, "KEPT", 1)
    with serve(tmp_path) as served:
        for step in steps[:2]:
            assert "accuracy" in served.get(f"/steps/{step.key}").text
        assert not served.board.outcomes._kept


def test_two_studies_of_one_name_are_refused(tmp_path: Path) -> None:
    written = 'name = "same"\nlevels = [1]\n[parts.x]\nsources = ["digits:a"]\ntargets = ["digits:b"]\n'
    files = [tmp_path / "one.toml", tmp_path / "two.toml"]
    for file in files:
        file.write_text(written)
    with pytest.raises(SpecError, match="are both studies called same: show one of them"):
        Board(tmp_path / "store", map(str, files))
    assert Board(tmp_path / "store", [str(files[0])] * 2).given == ("same",)


def test_a_report_that_is_being_made_does_not_keep_the_board_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study's own code may take as long as it likes; here it takes until the board has ended."""
    import threading

    from oneticket.board import reports

    begun, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(reports, "PATIENCE", 0.01)
    monkeypatch.setattr(reports, "plan_of", lambda *_: begun.set() or ended.wait() or None)
    with serving(tmp_path, "demo") as served:
        assert served.get("/studies/demo").status == 200
        until(begun.is_set, "the report begun")
    ended.set()
    served.board.reports._thread.join()
