"""Kernels on disk: what other modules changed is noticed, and full disks and damaged files break nothing off."""

from __future__ import annotations

import errno
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("numba")

PART = """
from numba import njit
@njit
def factor():
    return {factor}
"""
KERNEL = """
import part
from oneticket.ground.compiled import compiled
@compiled(part)
def times(x):
    return part.factor() * x
"""


def read(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as its file is now."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, made)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are kept beside their sources, whatever NUMBA_CACHE_DIR says; and these are read as they are now.

    Python takes a file for the one that it compiled if it is as long and of the same second.
    """
    from numba.core import config

    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def kernel(folder: Path, factor: int, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of a kernel that multiplies by a factor, which another module says."""
    from oneticket.ground import compiled

    compiled._digest.cache_clear()
    (folder / "part.py").write_text(PART.format(factor=factor))
    if not (folder / "kernel.py").exists():
        (folder / "kernel.py").write_text(KERNEL)
    read("part", folder, monkeypatch)
    return read("kernel", folder, monkeypatch)


def test_what_a_kernel_is_made_of_dates_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernel(tmp_path, 2, monkeypatch)
    assert first.times(5) == 10
    assert [*tmp_path.rglob("*.nbc")]
    again = kernel(tmp_path, 2, monkeypatch)
    assert again.times(5) == 10
    assert sum(again.times.stats.cache_hits.values()) == 1
    changed = kernel(tmp_path, 3, monkeypatch)
    assert changed.times(5) == 15
    assert not changed.times.stats.cache_hits


def test_a_full_disk_breaks_nothing_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert kernel(tmp_path, 2, monkeypatch).times(5) == 10
    assert not [*tmp_path.rglob("*.nbc")]


DAMAGES = {"empty": lambda data: b"", "cut off": lambda data: data[: len(data) // 2], "of others": lambda data: b"{}"}


@pytest.mark.parametrize("suffix", ["nbc", "nbi"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_breaks_nothing_off_and_heals(
    suffix: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernel(tmp_path, 2, monkeypatch).times(5) == 10
    (path,) = tmp_path.rglob(f"*.{suffix}")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = kernel(tmp_path, 2, monkeypatch)
    assert again.times(5) == 10 and not again.times.stats.cache_hits
    healed = kernel(tmp_path, 2, monkeypatch)
    assert healed.times(5) == 10 and sum(healed.times.stats.cache_hits.values()) == 1


def test_an_index_that_cannot_be_read_when_a_kernel_is_kept_breaks_nothing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kernel(tmp_path, 2, monkeypatch)
    assert one.times(5) == 10
    (path,) = tmp_path.rglob("*.nbi")
    path.write_bytes(b"")
    one.times._cache.load_overload = lambda *_: None  # the file is damaged after it was read
    assert one.times(0.5) == 1
    assert not [*tmp_path.rglob("*.nb?")]


def test_data_that_another_process_wrote_for_other_types_or_sources_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kernel(tmp_path, 2, monkeypatch)
    assert one.times(5) == 10
    (index,), (path,) = tmp_path.rglob("*.nbi"), tmp_path.rglob("*.nbc")
    ours = path.read_bytes()
    index.unlink()
    assert kernel(tmp_path, 2, monkeypatch).times(0.5) == 1  # its data have the same name
    path.write_bytes(ours)  # as where both were saved at once
    again = kernel(tmp_path, 2, monkeypatch)
    assert again.times(0.5) == 1 and not again.times.stats.cache_hits
    assert kernel(tmp_path, 3, monkeypatch).times(5) == 15
    path.write_bytes(ours)
    assert kernel(tmp_path, 3, monkeypatch).times(5) == 15
