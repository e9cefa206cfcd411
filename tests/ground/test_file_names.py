"""Every name that the filesystem allows can be written: the name that a file has while it is written is no longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oneticket.ground import disk


@pytest.mark.parametrize("name", ["a", "a" * 119, "a" * 221, "a" * 222, "a" * 255, "é" * 127, "\U0001f3ab" * 63])
def test_names_up_to_255_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    disk.replace(path, b"old")
    disk.replace_all({path: b"new", tmp_path / "b": b"beside"})
    assert path.read_bytes() == b"new" and sorted(os.listdir(tmp_path)) == sorted({name, "b"})


def test_the_name_beside_is_no_longer_than_the_final_one() -> None:
    for length in range(1, 256):
        beside = disk._beside("é" * (length // 2) + "x" * (length % 2))
        assert len(os.fsencode(beside)) <= max(length, disk.SHORT) and beside.startswith(".")
    assert len({disk._beside("x" * 255) for _ in range(100)}) == 100


def test_a_longer_name_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        disk.replace(tmp_path / ("a" * 256), b"")
    assert os.listdir(tmp_path) == []
