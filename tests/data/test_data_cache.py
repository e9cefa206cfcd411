import os

import pytest
import torch

from oneticket.data.cache import cached
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import KeptWarning


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make():
    return {"x": torch.arange(6, dtype=torch.uint8)}, ["a", "b"]


def never():
    raise AssertionError("made again")


def entries(home):
    return sorted((home / "decoded").iterdir())


def test_made_once(home):
    first, second = cached("key", make), cached("key", never)
    assert second.tensors["x"].equal(first.tensors["x"])
    assert (second.note, second.sum) == (first.note, first.sum)
    assert cached("other key", lambda: (make()[0], None)).sum != first.sum


@pytest.mark.parametrize("harm", ["truncated", "flipped", "emptied", "foreign"])
def test_damaged_entry_is_made_again(home, harm):
    first = cached("key", make)
    (path,) = entries(home)
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[:-2], "flipped": whole[:-1] + b"\xff", "emptied": b"", "foreign": b"not safetensors"}[harm]
    )
    with pytest.warns(KeptWarning, match=f"{path}: .*; it is made anew") as caught:
        again = cached("key", make)
    assert (again.sum, len(caught)) == (first.sum, 1)
    assert path.read_bytes() == whole


def test_interrupted_write_leaves_nothing(home, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        cached("key", make)
    assert entries(home) == []
    monkeypatch.undo()


def test_leftover_of_a_killed_write_is_never_read(home):
    (home / "decoded").mkdir(parents=True)
    (home / "decoded" / "tmp123.part").write_bytes(b"half")
    assert cached("key", make).tensors["x"].tolist() == list(range(6))
    assert cached("key", never).note == ["a", "b"]


def test_unwritable_cache_is_worked_around(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "file" / "cache"))
    assert cached("key", make).note == ["a", "b"]
    assert len(load(DataSpec(name="digits")).train) == 1437


def test_cached_set_equals_decoded_set(home):
    first, second = load(DataSpec(name="mnist1d")), load(DataSpec(name="mnist1d"))
    assert first.digest == second.digest
    assert first.train.inputs.equal(second.train.inputs)
    assert len(entries(home)) == 1
