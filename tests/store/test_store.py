"""The laws of the store, in every sort of place: whole or absent, done once, noticed when it differs, mended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from stores import LEVEL, OTHER, OUTCOME, STEP, content, put, search

from oneticket.engine.inline import run
from oneticket.ground.canon import digest, dumps
from oneticket.ground.errors import KeptWarning, StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.store import names
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.ticket.values import view
from oneticket.training.loop import Run


def test_what_is_put_comes_back(url: str) -> None:
    store = Store(url)
    assert (store.keys(), store.has(STEP), store.records([STEP]), store.provenance(STEP)) == (set(), False, {}, {})
    with pytest.raises(StoreError, match="has no outcome of step"):
        store.get(STEP)
    with pytest.raises(StoreError, match="has no complete outcome of step"):
        store.record(STEP)
    assert put(store) == "kept"
    store = Store(store.url)
    read = store.get(STEP)
    assert (read.record, store.record(STEP)) == (OUTCOME.record, OUTCOME.record)
    assert read.tensors.keys() == OUTCOME.tensors.keys()
    assert all(torch.equal(read.tensors[name], OUTCOME.tensors[name]) for name in read.tensors)
    assert (store.keys(), store.has(STEP)) == ({STEP.key}, True)
    assert store.records([LEVEL, STEP]) == {STEP.key: OUTCOME.record}
    head = store.heads([STEP.key])[STEP.key]
    assert dict(head.tensors) == {"t": ("I64", (3,)), "s": ("F32", ())}
    about = store.provenances([LEVEL.key, STEP.key])[STEP.key]
    assert about == store.provenance(STEP)
    assert (about["seconds"], about["device"], set(about["versions"])) == (1.5, "cpu", {"torch", "python", "oneticket"})


def test_the_files_of_an_outcome_are_frozen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store)
    folder = tmp_path / "format-2" / STEP.key[:2]
    file = folder / f"{STEP.key}.safetensors"
    with safe_open(file, framework="pt") as opened:  # any safetensors library reads it
        assert sorted(opened.keys()) == ["s", "t"]
        (said,) = opened.metadata().values()
    sums = {name: hashlib.sha256(bytes(view(OUTCOME.tensors[name]))).hexdigest() for name in ("s", "t")}
    table = f'{{"s":["F32",[],"{sums["s"]}"],"t":["I64",[3],"{sums["t"]}"]}}'
    assert said == (
        f'{{"digest":"{DIGEST}","format":2,"kind":"outcome","of":"{STEP.key}",'
        f'"value":{{"record":{{"a":0.1,"b":[1,null]}},"tensors":{table}}}}}'
    )
    assert hashlib.sha256(file.read_bytes()).hexdigest() == WHOLE
    assert sorted(path.name.partition(".")[2] for path in folder.iterdir()) == ["json", "safetensors"]


DIGEST = "5e0d8b8cd56b8ba693212c2333b9b48cc6c8a5985b9939ce2ca5f2272ef4d340"
WHOLE = "530522d9546222f2f4deac8964fa68c589c7c29d0b807e86c708a59e3e2949b9"


def test_a_folder_means_the_same_wherever_its_url_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("relative")
    monkeypatch.chdir("/")
    put(store)
    assert store.url == str(tmp_path / "relative")
    assert Store(store.url).has(STEP) and Store(f"file://{store.url}").has(STEP)


def test_records_of_any_length_are_read_without_tensors(url: str) -> None:
    store, steps = Store(url), [Step(kind="rewind", args={"seed": seed}) for seed in range(3)]
    for number, step in enumerate(steps):
        put(store, step, Outcome(record={"long": "x" * number * 20_000}, tensors={"t": torch.zeros(10_000)}))
    assert [len(record["long"]) for record in store.records(steps).values()] == [0, 20_000, 40_000]
    assert all(store.has(step) for step in steps)


def test_steps_are_found_by_their_address(url: str) -> None:
    store, book = Store(url), Step(kind="book", args={"id": "x"}, file=Path("somewhere"))
    top = Step(kind="level", args={"level": 1, "small": 1e-300}, needs=(STEP, LEVEL, book))
    store.define(top)
    store.define(top, LEVEL)
    found = Store(store.url).step(top.key)
    assert (found, found.key) == (top, top.key)
    assert found.needs[1].needs == (STEP,)
    assert found.needs[2].file is None
    assert store.step(top.key) is top
    assert store.definitions([STEP.key]) == {
        STEP.key: {"kind": "rewind", "version": 1, "args": {"seed": 0}, "needs": []}
    }
    with pytest.raises(StoreError, match="no definition of step 0000"):
        store.step("0" * 64)


def test_a_definition_that_is_not_true_is_refused(url: str) -> None:
    store, name = Store(url), names.name(STEP.key, names.DEFINITION)
    store.define(STEP)
    good = store.files.read([name])[name]
    for bad, words in [
        (good.replace(b'"seed":0', b'"seed":1'), "it is damaged, or that of another step"),
        (good[:-9], "Unterminated|Expecting"),
        (b"[]", "it is damaged: no definition of a step"),
        (good + b"\n", "it is damaged: no definition of a step"),
    ]:
        store.files.write({name: bad})
        with pytest.raises(StoreError, match=f"{name}: ({words}).*; run the study that plans it"):
            Store(store.url).step(STEP.key)
        again = Store(store.url)
        with pytest.warns(KeptWarning, match=name):
            again.define(STEP)
        assert store.files.read([name])[name] == good


def test_a_definition_of_another_version_is_told(url: str) -> None:
    store = Store(url)
    for plain, words in [
        ({"kind": "rewind", "version": 9}, "a rewind of version 9, and this oneticket does version 1"),
        ({"kind": "magic", "version": 1}, "a magic of version 1, and this oneticket does only book, "),
    ]:
        whole = {**plain, "args": {}, "needs": []}
        key = digest([whole[part] for part in ("kind", "version", "args", "needs")])
        store.files.write({names.name(key, names.DEFINITION): dumps(whole).encode()})
        with pytest.raises(StoreError, match=words):
            store.step(key)


def test_twice_is_said_and_the_first_stays(url: str) -> None:
    store = Store(url)
    assert [put(store), put(store)] == ["kept", "there already"]
    before = content(store)
    assert store.drifts() == {}
    assert [put(store, STEP, OTHER), put(store, STEP, OTHER)] == ["drifted", "drifted"]
    assert content(store) == before
    (drifted,) = Store(url).drifts()[STEP.key]
    assert (drifted["record"], drifted["provenance"]["device"]) == (OTHER.record, "cpu")
    assert drifted["digest"] != store.heads([STEP.key])[STEP.key].digest


def test_failures_are_remembered_until_they_are_mended(url: str) -> None:
    store = Store(url)
    assert (store.failure(STEP), store.failures()) == (None, {})
    store.note_failure(STEP, "the loss is nan")
    assert Store(url).failure(STEP) == "the loss is nan"
    assert store.failures() == {STEP.key: "the loss is nan"}
    put(store)
    assert (store.failure(STEP), store.failures()) == (None, {})


def test_a_checkpoint_goes_with_its_outcome(url: str) -> None:
    store = Store(url)
    slot = store.slot(STEP)
    assert slot.read() is None
    for data in (b"one", b"two"):
        slot.write(data)
        assert Store(store.url).slot(STEP).read() == data
    put(store)
    assert slot.read() is None
    assert not store.files.sizes(names.UNDER_WAY)


def test_an_entry_that_was_cut_short_is_absent_and_made_anew(url: str) -> None:
    store, steps = Store(url), search()
    run(steps, store=store, context=RunContext())
    good, name = content(store), names.name(steps[0].key, names.OUTCOME)
    for left in (0, 5, 300, len(good[name]) - 1):
        store.files.write({name: good[name][:left]})
        with pytest.warns(KeptWarning, match=f"{name}: it is (empty|cut short)") as caught:
            done = run(steps, store=Store(store.url), context=RunContext()).done
        assert ([step.key for step in done], len(caught)) == ([steps[0].key], 1)
        assert content(store) == good


def test_the_time_before_a_stop_counts(tmp_path: Path) -> None:
    store, seen = Store(tmp_path), list[int]()

    def note(run: Run) -> None:
        run.spent = 1000.0
        seen.append(run.position)

    with pytest.raises(KeyboardInterrupt):
        run(search(levels=0)[:1], store=store, context=RunContext(watchers=(note,), stop=lambda: len(seen) == 4))
    assert len([name for name in store.files.sizes(names.UNDER_WAY) if name.endswith(".safetensors")]) == 1
    (step,) = search(levels=0)
    run([step], store=store, context=RunContext())
    assert store.provenance(step)["seconds"] > 1000
    assert store.provenance(step.needs[0])["seconds"] < 1000


def test_a_checkpoint_serves_in_any_store(url: str) -> None:
    store, seen, steps = Store(url), list[int](), search(levels=0)
    context = RunContext(watchers=(lambda run: seen.append(run.position),), stop=lambda: len(seen) == 4)
    with pytest.raises(KeyboardInterrupt):
        run(steps, store=store, context=context)
    assert seen == [1, 2, 3, 4]
    run(steps, store=Store(store.url), context=replace(context, stop=lambda: False))
    assert seen == [1, 2, 3, 4, 6], "the fifth was taken when it was asked to stop, and is not taken again"


@contextlib.contextmanager
def not_root() -> Iterator[Path]:
    """A folder, and for a while the rights of somebody who owns nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.chmod(folder, 0o777) if not root else os.seteuid(0)


def test_a_place_that_refuses_is_told_in_words() -> None:
    with not_root() as folder:
        store = Store(folder)
        put(store)
        entry, before = folder / names.name(STEP.key, names.OUTCOME), store.files.sizes()
        os.chmod(entry.parent, 0o555)
        with pytest.raises(StoreError, match=f"cannot write to the store {folder}: Permission denied"):
            put(store, STEP, OTHER)
        with pytest.raises(StoreError, match="cannot write to the store .*: Permission denied"):
            store.define(STEP)
        assert store.files.sizes() == before
        os.chmod(entry, 0)
        with pytest.raises(StoreError, match="cannot read the store .*: Permission denied"):
            store.get(STEP)
        os.chmod(entry.parent, 0)
        with pytest.raises(StoreError, match="cannot list the store .*: Permission denied"):
            store.keys()
        os.chmod(entry.parent, 0o777)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store, large = Store(tmp_path), Outcome(record={}, tensors={"t": torch.zeros(100_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StoreError, match=f"cannot write to the store {tmp_path}: File too large"):
            put(store, STEP, large)
        with pytest.raises(StoreError, match="File too large"):
            store.files.create("under-way/large", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not store.has(STEP)
    assert list(store.files.sizes()) == [names.name(STEP.key, names.PROVENANCE)]
    assert put(store, STEP, large) == "kept"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(tmp_path / "file")
    assert (store.has(STEP), store.keys()) == (False, set())
    with pytest.raises(StoreError, match="cannot write to the store"), store.claim(STEP):
        pass


def test_an_url_that_nothing_opens_is_refused_at_once() -> None:
    with pytest.raises(StoreError, match="needs a package that is not installed: .*adlfs"):
        Store("abfs://container/prefix")
    with pytest.raises(StoreError, match="cannot be opened: Protocol not known: magic"):
        Store("magic://bucket")


@pytest.mark.parametrize("place", ["memory:", "s3:bucket/prefix"])
def test_half_a_url_is_no_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=f"{place}: expected a folder, or a URL such as s3://bucket/prefix"):
        Store(place)
    Store(f"./{place}").put(STEP, OUTCOME, seconds=0.0, device="cpu")
    assert (tmp_path / place).is_dir()


@pytest.mark.parametrize("place", ["", " ", "file://"])
def test_no_place_is_not_the_folder_that_one_happens_to_be_in(place: str) -> None:
    with pytest.raises(StoreError, match="expected a folder or a URL, got an empty text"):
        Store(place)
