"""The pages over stores that are empty, damaged, of another format, being written, very large, or gone meanwhile."""

from __future__ import annotations

import html
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from boards import Served
from waiting import until

from oneticket.board.elements import shown
from oneticket.engine.inline import run
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.store import claim, names
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.study.design import keep_plan
from oneticket.study.grid import plan
from oneticket.study.origins import search_origin
from oneticket.study.plan import closure
from oneticket.study.spec import StudySpec
from oneticket.study.steps import Blank, TransferStep
from oneticket.training import curve
from oneticket.training.loop import Run

Serve = Callable[..., Any]
EVIL = "<script>alert(1)</script>\"'&\x1b[31m"
QUICK: dict[str, Any] = {"training": {"budget": "1ep"}, "rewind": "2it", "replicates": 1}
STUDY = {
    "name": "halves",
    "title": EVIL,
    "levels": [1, 2],
    "arms": ["dense", "ticket", "global-random"],
    "models": {"small": {"name": "mlp", "widths": [12]}},
    "parts": {EVIL: {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["small"], "optimizers": ["sgd"]}},
    **QUICK,
}
NETWORK = {"spec": {"name": "mlp", "widths": [4]}, "shape": [1, 8, 8], "classes": 10}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def text(page: str) -> str:
    """What a reader sees of a page."""
    words = html.unescape(" ".join(re.sub(r"<[^>]*>", " ", page).split()))
    return re.sub(r" (?=[,.:])", "", words)


def links(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r'href="(/[^"]*)"', page)]


def trained(number: int, spec: TransferSpec) -> Step:
    """A transfer that differs from others in its replicate alone."""
    blank = Blank(network=NETWORK, remaining=None)
    return TransferStep(spec=spec, arm="dense", replicate=number, digests={"data_digest": "00"}, source=blank).step


RECORD = {"density": 1.0, "living": 10, "metric": "accuracy", "unit": "", "better": "higher", "score": 0.5, "steps": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a small study, run by the real engine."""
    folder = tmp_path_factory.mktemp("made") / "store"
    asked, store = plan(StudySpec.read(STUDY), RunContext()), Store(folder)
    keep_plan(asked, store)
    assert not run([cell.step for cell in asked.cells], store=store, context=RunContext()).failed
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "store"))


def every_page(served: Served, home: str = "/") -> Iterator[tuple[str, str]]:
    """All pages that can be reached by links."""
    known, waiting = set(), [home]
    while waiting:
        path = waiting.pop()
        if path not in known:
            known.add(path)
            reply = served.get(path)
            assert reply.status == 200, (path, reply.text)
            yield path, reply.text
            waiting += links(reply.text) if reply.headers["content-type"].startswith("text/html") else []


def test_every_page_of_a_study_is_whole_escaped_and_changes_nothing(store: Path, serve: Serve) -> None:
    before = files(store)
    with serve(store) as served:
        served.read()
        pages = dict(every_page(served))
    assert len(pages) > 12
    assert {"/", "/outcomes", "/compare", "/studies/halves"} <= pages.keys()
    for path, page in pages.items():
        assert "<script>alert" not in page and "onerror" not in page, path
        assert re.findall(r"<script(?![^>]*src=\"/board.js\")", page) == [], path
        assert " style=" not in page and "javascript:" not in page, path
    assert "<script>alert(1)</script>" in text(pages["/studies/halves"])
    assert "5 of 5 cells" in text(pages["/"])
    assert re.search(r"begun <time[^>]*>\d{4}-\d\d-\d\d, \d\d:\d\d UTC</time>", pages["/"])
    assert re.search(r"\d\d\.\d %", text(pages["/outcomes"])) and "accuracy" not in text(pages["/outcomes"])
    assert files(store) == before


def test_a_search_shows_the_density_of_each_layer_at_each_level(store: Path, serve: Serve) -> None:
    with serve(store) as served:
        served.read()
        (path,) = (
            link for link in links(served.get("/outcomes?q=level+1+of&kind=level").text) if link.startswith("/steps/")
        )
        sparsest, dense = (text(served.get(path + query).text) for query in ("", "?level=0"))
        assert served.get(path + "?level=9").status == 400
    total = 64 * 12
    assert f"{total:,} of {total:,} prunable weights remain at level 0: 100 %" in dense
    assert re.search(rf"61\d of {total:,} prunable weights remain at level 1: 80 %", sparsest)
    assert "fc1.weight" in sparsest and "Training loss" in sparsest


def test_what_is_planned_and_not_done_can_be_looked_up(store: Path, serve: Serve) -> None:
    kept = Store(store)
    key = next(key for key, defined in kept.definitions(kept.keys()).items() if defined["kind"] == "transfer")
    (store / names.name(key, names.OUTCOME)).unlink()
    with serve(store) as served:
        front, listed = served.get("/").text, served.get("/planned").text
    assert "1 planned and not done" in text(front) and "/planned" in links(front)
    assert "1 step, page 1 of 1" in text(listed) and f"/steps/{key}" in links(listed) and "to do" in text(listed)


def test_two_tickets_side_by_side(store: Path, serve: Serve) -> None:
    with serve(store) as served:
        served.read()
        found = served.get("/compare").text
        keys = re.findall(r'<option value="([0-9a-f]{64})">level [12] of', found)
        same = served.get(f"/compare?a={keys[0]}&a_level=1&b={keys[0]}&b_level=1").text
        other = served.get(f"/compare?a={keys[0]}&a_level=0&b={keys[-1]}").text
        none = served.get(f"/compare?a={keys[0]}&b={'0' * 64}").text
    assert "remain in the second, too: 100 %. Two random masks of these densities would share 80 %." in text(same)
    assert "Density by layer" in text(other)
    assert "no outcome of this store lies at" in text(none)


def test_figures_and_verdicts_fill_for_a_study_that_was_named(store: Path, serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "halves.toml"
    file.write_text(
        'name = "halves"\ntitle = "Halves"\nlevels = [1, 2]\narms = ["dense", "ticket", "global-random"]\n'
        'replicates = 1\nrewind = "2it"\nfigures = ["scores", "overlap"]\ntraining = {budget = "1ep"}\n'
        '[models]\nsmall = {name = "mlp", widths = [12]}\n[parts.x]\nsources = ["digits:a"]\n'
        'targets = ["digits:b"]\nmodels = ["small"]\noptimizers = ["sgd"]\n'
    )
    with serve(store) as served:
        assert "oneticket board halves.toml" in text(served.get("/studies/halves").text)
    with serve(store, str(file)) as served:
        until(lambda: "From 5 of 5 cells" in text(served.get("/studies/halves").text), "the report")
        page = served.get("/studies/halves").text
        assert "they may change" not in text(page)
        pictures = [html.unescape(found) for found in re.findall(r'<img src="([^"]*)"', page)]
        assert {path.split("/")[4] for path in pictures} == {"0", "1"}  # the one under the verdicts, and the scores
        for path in pictures:
            drawn = served.get(path)
            assert drawn.headers["content-type"].startswith("image/svg+xml") and drawn.text.startswith("<svg")
            assert "prefers-color-scheme: dark" in drawn.text and "immutable" in drawn.headers["cache-control"]
        assert served.get(pictures[0].replace("/figures/0/0", "/figures/0/99")).status == 404
        assert (
            "Not drawn yet, for want of what it shows: two searches of one model that begin from the same weights."
            in text(page)
        )
        shutil.rmtree(store)
        until(lambda: "There is no store here yet" in text(served.get("/").text), "the store gone")
        assert served.get(pictures[-1]).status == 200


def test_no_store_an_empty_one_and_one_that_vanishes(tmp_path: Path, serve: Serve, made: Path) -> None:
    place = tmp_path / "store"
    with serve(place) as served:
        assert "There is no store here yet" in text(served.get("/").text)
        assert not place.exists()
        place.mkdir()
        assert "0 outcomes (0 B), 0 under way, 0 planned and not done" in text(served.get("/").text)
        for path in ("/outcomes", "/compare"):
            assert served.get(path).status == 200
        shutil.copytree(made, place, dirs_exist_ok=True)
        assert "5 of 5 cells" in text(served.get("/").text)
        served.read()
        (path, *_) = (link for link in links(served.get("/outcomes").text) if link.startswith("/steps/"))
        shutil.rmtree(place)
        assert "There is no store here yet" in text(served.get("/").text)
        assert served.get(path).status == 404
        assert "No outcomes yet" in text(served.get("/outcomes").text)
        place.write_text("now a file")
        assert served.get("/").status == 200


def test_damaged_files_are_told_and_left_as_they_are(store: Path, serve: Serve) -> None:
    kept = Store(store)
    keys = sorted(kept.keys())
    kinds = {key: defined["kind"] for key, defined in kept.definitions(keys).items()}
    deep = next(key for key in keys if kinds[key] == "level")
    for number, (key, what) in enumerate(
        [(keys[0], names.DEFINITION), (keys[1], names.PROVENANCE), (keys[2], names.OUTCOME), (deep, names.OUTCOME)]
    ):
        path = store / names.name(key, what)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if number < 3 else data[:-1] + bytes([data[-1] ^ 1]))
    (store / names.UNDER_WAY).mkdir(exist_ok=True)
    (store / names.name(keys[3], names.CLAIM)).write_bytes(b'{"host":["x"],"training":{"position":"NaN"}}')
    (store / names.name(keys[4], names.FAILURE)).write_bytes(b"not a note")
    (store / f"{names.name(keys[5], names.OUTCOME)}.{names.DAMAGED}").write_bytes(b"set aside before")
    (store / "format-2" / "plans" / "other.json").write_bytes(b"{}")
    (store / "ab").mkdir()
    (store / "ab" / f"{'ab' * 32}.safetensors").write_bytes(b"of format 1")
    (store / "format-9" / "ab").mkdir(parents=True)
    (store / "format-9" / "ab" / f"{'ab' * 32}.json").write_bytes(b"of a newer one")
    (store / "notes.txt").write_text("somebody's own")
    before = files(store)
    with serve(store) as served:
        served.read()
        home = text(served.get("/").text)
        assert all(reply for reply in every_page(served))
        page = text(served.get(f"/steps/{deep}").text)
    assert "damaged or unreadable" in home and "cut short" in home
    assert "damaged, and set aside" in home and "plans/other.json" in home
    assert "1 file of format 1, " in home and "1 file of format 9, " in home
    assert "Its tensors are not shown" in page
    assert files(store) == before


def test_steps_that_failed_wait_or_run_are_told(tmp_path: Path, serve: Serve) -> None:
    spec = TransferSpec(data="digits:b")
    store = Store(tmp_path)
    failed, waiting, held, done = (trained(number, spec) for number in range(4))
    store.define(failed, waiting, held, done)
    store.note_failure(failed, f"{EVIL}\nand more")
    store.put(done, Outcome(record=RECORD, tensors={"losses": torch.ones(3)}), seconds=1.0, device="cpu")
    keys = [step.key for step in (failed, waiting, held, done)]
    store.plans.write(f"../{EVIL}", title=EVIL, parts={"x": keys}, steps=keys)
    with store.claim(held), serve(tmp_path) as served:
        served.read()
        pages = dict(every_page(served))
        assert "Steps: 1 done, 1 under way, 1 failed, 1 to do" in text(pages["/"])
        assert "process" in text(pages["/"]) and "it has not reported its progress yet" in text(pages["/"])
        assert shown(EVIL) in text(pages["/"]) and "<script>alert" not in "".join(pages.values())
        assert "It failed when it was last tried" in text(served.get(f"/steps/{failed.key}").text)
        assert "planned and not done yet" in text(served.get(f"/steps/{waiting.key}").text)
        (study,) = (path for path in pages if path.startswith("/studies/"))
        assert "1 of 4 cells, 3 missing" in text(pages["/"]) and "Cells by part" in text(pages[study])


def test_a_training_shows_its_curve_while_it_runs(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "EVERY", 0.0)
    monkeypatch.setattr(claim, "EARLY", (0.01,) * 10_000)
    spec = SearchSpec(
        data="digits:a", model={"name": "mlp", "widths": (12,)}, training={"budget": "30it"}, rewind="2it"
    )
    steps = search_origin(spec, levels=1, replicate=0, context=RunContext()).levels
    seen: list[str] = []

    with serve(tmp_path) as served:

        def watch(made: Run) -> None:
            if len(made.losses) == made.position + 10:
                until(lambda: "step 20 of 30, loss" in text(served.get("/").text), "the position on the overview")
                page = served.get("/").text
                (path,) = (link for link in links(page) if link.startswith("/steps/"))
                assert '<polyline points="' in served.get(path).text
                seen.append(path)

        run(steps, store=Store(tmp_path), context=RunContext(watchers=(watch,)))
        assert "Nothing is under way now" in text(served.get("/").text)
        assert "Training loss" in text(served.get(seen[-1]).text)
    assert [f"/steps/{step.key}" for step in steps] == seen
    assert not Store(tmp_path).ignored


def test_a_board_beside_a_run_that_writes_all_the_time(tmp_path: Path, serve: Serve) -> None:
    """Nothing is ever seen in part, and the store comes out as without a board."""
    asked, over, pages = plan(StudySpec.read(STUDY), RunContext()), threading.Event(), []
    with serve(tmp_path / "seen") as served:

        def look() -> None:
            while not over.is_set():
                pages.extend(served.get(path) for path in ("/", "/outcomes", "/studies/halves", "/compare"))

        looking = threading.Thread(target=look)
        looking.start()
        for place in ("seen", "alone"):
            keep_plan(asked, Store(tmp_path / place))
            run([cell.step for cell in asked.cells], store=Store(tmp_path / place), context=RunContext())
        over.set()
        looking.join()
        served.read()
        assert not served.board.store.ignored and not served.board.index.troubles(served.board.view.look())
    assert pages and all(reply.status in (200, 404) for reply in pages)
    seen, alone = (Store(tmp_path / place) for place in ("seen", "alone"))
    assert seen.keys() == alone.keys() == {step.key for step in closure(cell.step for cell in asked.cells)}
    held = names.holding(names.OUTCOME, alone.files.sizes())
    assert seen.files.read(held) == alone.files.read(held)


def test_ten_thousand_outcomes(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages come before all is read, read only what they show, and nothing is read twice."""
    from oneticket.store import store as stores

    monkeypatch.setattr(stores, "provenance", lambda **about: about)
    spec, store, many = TransferSpec(data="digits:b"), Store(tmp_path), 10_000
    steps = [trained(number, spec) for number in range(many)]
    contents = {}
    from oneticket.store import definition, entry

    for step in steps:
        contents[names.name(step.key, names.DEFINITION)] = definition.encode(step)
        outcome = Outcome(record={**RECORD, "score": step.args["replicate"] / many}, tensors={})
        contents[names.name(step.key, names.OUTCOME)] = entry.encode(step.key, outcome)
    for name, data in contents.items():  # as the store lays them down, without forcing each to the disk
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    store.plans.write("large", title="", parts={"x": [s.key for s in steps]}, steps=[s.key for s in steps])
    with serve(tmp_path) as served:
        home = text(served.get("/").text)
        assert "10,000 outcomes" in home and "10,000 of 10,000 cells" in home
        assert served.get("/outcomes").status == 200
        served.read()
        found = text(served.get("/outcomes?q=replicate+9999").text)
        assert "1 of 10,000 outcomes, page 1 of 1" in found and "replicate 9999" in found
        page = served.get("/outcomes?page=200").text
        assert "page 200 of 200" in text(page)
        assert len([link for link in links(page) if link.startswith("/steps/")]) == 50
        reads: list[str] = []
        read = served.board.store.files.read
        monkeypatch.setattr(
            served.board.store.files,
            "read",
            lambda asked, **end: reads.extend(asked := list(asked)) or read(asked, **end),
        )
        for path in ("/", "/outcomes?page=3", "/studies/large"):
            assert served.get(path).status == 200
        assert not [name for name in reads if not name.endswith(".claim")]
