"""The laws of upkeep: damage is found and mended by itself, debris goes, and nothing that anybody needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from stores import LEVEL, OTHER, STEP, content, put, search
from test_claim import killed_holder

from oneticket.cli import store as command
from oneticket.data.cache import cached
from oneticket.engine.inline import run
from oneticket.ground.canon import digest
from oneticket.ground.errors import KeptWarning, SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.store import names
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.store.upkeep import gc, verify


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are as long as they are, whatever is around."""
    monkeypatch.setenv("COLUMNS", "200")


def test_verify_finds_damage_and_the_next_run_mends_just_that(url: str) -> None:
    store, steps = Store(url), search()
    run(steps, store=store, context=RunContext())
    good, bad = content(store), steps[0].key
    assert dict(verify(store)) == dict.fromkeys(store.keys())
    name, defined = names.name(bad, names.OUTCOME), names.name(steps[1].key, names.DEFINITION)
    plain = store.files.read([defined])[defined]
    store.files.write({name: good[name][:-1] + bytes([good[name][-1] ^ 1])})
    store.files.write({defined: plain.replace(b'"level":1', b'"level":2')})
    found = [(key, trouble) for key, trouble in verify(Store(store.url)) if trouble]
    assert found[0] == (steps[1].key, f"{store.url}/{defined}: it is damaged, or that of another step")
    assert found[1] == (bad, f"{store.url}/{name}: its content has another digest than it says: {LOSSES}")
    assert f"{name}.{names.DAMAGED}" in store.files.sizes()
    again = Store(store.url)
    assert [step.key for step in run(steps, store=again, context=RunContext()).done] == [bad]
    assert content(store) == good
    again.define(*steps)
    assert store.files.read([defined])[defined] == plain
    assert not [trouble for _, trouble in verify(again) if trouble]


LOSSES = "tensor 'zeros/fc1.weight' is damaged"


def test_gc_removes_what_nobody_needs(tmp_path: Path) -> None:
    store, cut, room = Store(tmp_path), f".{STEP.key}.safetensors.x8_y", names.ROOM
    far, failed, paused, lone = (Step(kind="level", args={"level": n}, needs=(STEP,)) for n in range(10, 14))
    store.define(LEVEL, failed, paused, lone)
    put(store, LEVEL)
    put(store, LEVEL, OTHER)
    put(store, far)
    store.note_failure(failed, "the loss is nan")
    store.slot(paused).write(b"half-way")
    stays = store.files.sizes().keys() - {names.name(lone.key, names.DEFINITION)}
    others = {"notes.txt": b"mine", f"{room}/{STEP.key[:2]}/readme": b"mine", f"{room}/under-way/x": b"mine"}
    debris = {
        names.name(LEVEL.key, names.CHECKPOINT): "of a step that is done by now",
        names.name(far.key, names.FAILURE): "of a step that is done by now",
        f"{room}/under-way/" + "0" * 64 + ".safetensors": "of a step that nobody knows",
        names.name(LEVEL.key, names.OUTCOME) + ".damaged": "damaged, and set aside",
        f"{room}/{STEP.key[:2]}/{cut}": "left by a write that was cut short",
        f"{room}/under-way/{cut}": "left by a write that was cut short",
        f"{room}/00/" + "0" * 64 + ".json": "of an outcome that is not there",
        names.name(STEP.key, f"{names.DRIFT}{'0' * 16}.json"): "of an outcome that is not there",
    }
    store.files.write(dict.fromkeys(debris, b"{}") | others)
    killed_holder(store.url)
    debris[names.name(STEP.key, names.CLAIM)] = "the claim of a process that is gone"
    debris[names.name(lone.key, names.DEFINITION)] = "of an outcome that is not there"
    before = store.files.sizes()
    assert {each.name: each.why for each in gc(store, dry_run=True)} == debris
    assert store.files.sizes() == before
    gc(store)
    assert store.files.sizes().keys() == stays | others.keys()
    assert gc(store) == []
    assert Store(tmp_path).step(LEVEL.key) == LEVEL


def test_gc_spares_what_is_under_way(url: str) -> None:
    store = Store(url)
    store.define(LEVEL)
    put(store)
    with store.claim(LEVEL):
        store.slot(LEVEL).write(b"half-way")
        store.note_failure(LEVEL, "the loss is nan")
        store.files.write({f"{names.UNDER_WAY}/.{LEVEL.key}.safetensors.x8_y": b"half-writ"})
        assert gc(store, keep=()) == []
        assert store.has(STEP), "it is needed by what is under way"
    assert {each.why for each in gc(store, keep=())} == {
        "not to be kept",
        "of a step that nobody knows",
        "left by a write that was cut short",
        "of an outcome that is not there",
    }
    assert store.files.sizes() == {}


def test_gc_keeps_what_is_asked_for(url: str) -> None:
    store = Store(url)
    store.define(LEVEL)
    put(store, LEVEL)
    put(store)
    put(store, STEP, OTHER)
    assert {each.why for each in gc(store, keep={LEVEL.key})} == {"not to be kept"}
    assert store.keys() == {LEVEL.key}
    assert store.drifts() == {}
    assert Store(store.url).step(LEVEL.key).needs == (STEP,), "what is kept can still be explained"


# --- the commands


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which a search of two levels was done, one of them twice and with another outcome."""
    store, steps = Store(tmp_path_factory.mktemp("store")), search()
    run(steps, store=store, context=RunContext())
    put(store, steps[1], OTHER)
    return store


def test_ls_has_a_line_per_entry(done: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.ls(store=done.url) == 0
    said = capsys.readouterr().out
    for step in search():
        line = rf"{step.key[:12]}\tlevel {step.args['level']} of digits:a with sgd, replicate 0\t.* kB\t20..-"
        assert re.search(line, said)
    assert re.search(r"3 entries, [\d.]+ kB, \d+ s of work; 1 came out differently a second time\.", said)
    assert command.ls(store=done.url, kind="rewind") == 0
    said = capsys.readouterr().out
    assert "the first steps of digits:a" in said and "level 1" not in said and "1 entries" in said
    with pytest.raises(SpecError, match="--kind: unknown kind 'levl'; did you mean 'level'"):
        command.ls(store=done.url, kind="levl")


def test_ls_shows_what_was_written_before_definitions_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    put(store)
    store.files.remove([names.name(STEP.key, names.PROVENANCE)])
    assert command.ls(store=store.url) == 0
    assert f"{STEP.key[:12]}\tof an unknown step" in capsys.readouterr().out


def test_show_tells_all_about_one(done: Store, capsys: pytest.CaptureFixture[str]) -> None:
    step = search()[1]
    assert command.show(step.key[:8], store=done.url) == 0
    said = " ".join(capsys.readouterr().out.split())
    record, head = done.record(step), done.heads([step.key])[step.key]
    for fact in [
        f"key {step.key}",
        "what level 1 of digits:a with sgd, replicate 0",
        "kind level, version",
        "rewind 2it",
        f"needs {step.needs[0].key[:12]} the first steps of digits:a",
        f"needs {step.needs[1].key[:12]} level 0 of digits:a",
        f"accuracy {record['accuracy']:.6g}",
        f"host {done.provenance(step)['host']}",
        f"drifted {done.drifts()[step.key][0]['digest']}",
        "losses F32 4",
        f"in all; digest {head.digest}",
    ]:
        assert fact in said


def test_show_names_those_that_come_near(done: Store) -> None:
    keys = sorted(done.keys())
    with pytest.raises(SpecError, match=f"'' begins the address of 3 entries in .*\n  {keys[0][:12]}  .*\n.*\n.*"):
        command.show("", store=done.url)
    with pytest.raises(SpecError, match=f"begins the address of none of the 3 entries(.|\n)*  {keys[-1][:12]}  "):
        command.show(keys[-1][:20] + "x", store=done.url)


def test_gc_and_verify_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for absent in (command.ls, command.gc, command.verify):
        with pytest.raises(SpecError, match="--store .*mistyped: there is no such folder"):
            absent(store=str(tmp_path / "mistyped"))
    assert command.verify(store=str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no entries, nothing to verify\n"
    store, steps = Store(tmp_path), search()
    run(steps, store=store, context=RunContext())
    assert (command.gc(store=store.url), command.verify(store=store.url)) == (0, 0)
    said = capsys.readouterr().out
    assert f"{store.url}: nothing to remove\n{store.url}: 3 entries are good\n" == said
    name = names.name(steps[0].key, names.OUTCOME)
    store.files.write({name: content(store)[name][:-1] + b"?"})
    assert command.verify(store=store.url) == 1
    said = capsys.readouterr().out
    start = f"{steps[0].key[:12]} (level 0 of digits:a with sgd, replicate 0): {store.url}/{name}: its content has"
    assert f"{start} another digest" in said
    assert f"{store.url}: 2 entries are good, 1 damaged and set aside: the next run makes them anew\n" in said
    for dry_run, words in [(True, "2 files, .*, would be removed"), (False, "2 files, .*, removed")]:
        assert command.gc(store=store.url, dry_run=dry_run) == 0
        said = capsys.readouterr().out
        assert re.search(words, said) and f"{name}.{names.DAMAGED}" in said
    assert command.gc(store=store.url, keep={steps[1].key}) == 0
    assert store.keys() == {steps[1].key}


# --- other formats


def test_outcomes_of_another_format_are_named_and_left_alone(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store, steps = Store(url), search(levels=0)
    old, key = save({"t": torch.ones(3)}, {"outcome": '{"digest":"00","record":{"accuracy":0.9}}'}), steps[0].key
    earlier = {f"{key[:2]}/{key}.safetensors": old, f"{key[:2]}/{key}.json": b"{}", f"{key[:2]}/{key}.step.json": b"{}"}
    newer = {f"format-9/{key[:2]}/{key}.safetensors": b"whatever comes"}
    store.files.write(earlier | newer)
    with pytest.warns(KeptWarning) as caught:
        assert len(run(steps, store=store, context=RunContext()).done) == 2
    assert [str(one.message) for one in caught] == [
        f"{store.url}: files of format 1 (3), written by an earlier version and bound to no address, are not used: "
        "what is asked for is made anew; `oneticket store gc` removes them",
        f"{store.url}: files of format 9 (1), written by a newer version, are not read by this one: upgrade, or choose "
        "another --store",
    ]
    assert store.files.read(earlier | newer) == earlier | newer
    claim = f"under-way/{key}.claim"
    store.files.write({claim: b"{}"})
    assert gc(store) == [], "an earlier version seems to be at work"
    store.files.remove([claim])
    assert {each.name: each.why for each in gc(store)} == dict.fromkeys(
        earlier, "of format 1, which nothing here reads"
    )
    assert len(store.keys()) == 2
    assert store.files.read(newer) == newer


def test_a_cache_of_the_first_format_is_named_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path))
    path = tmp_path / "decoded" / f"{digest('key')}.safetensors"
    path.parent.mkdir()
    path.write_bytes(save({"x": torch.zeros(2)}, {"oneticket": '{"note":null,"sum":"00"}'}))
    with pytest.warns(KeptWarning, match=f"{path}: an earlier version of oneticket wrote it; it is made anew"):
        found = cached("key", lambda: ({"x": torch.ones(2)}, None))
    assert found.tensors["x"].tolist() == cached("key", lambda: ({}, None)).tensors["x"].tolist() == [1.0, 1.0]
