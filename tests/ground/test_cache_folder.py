"""The cache folder is one place, wherever a program stands."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from oneticket.ground import disk


def test_a_relative_folder_is_that_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", "kept")
    assert disk.cache_folder() == tmp_path / "kept"


def test_a_user_without_a_home_has_a_folder_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONETICKET_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # so it is without HOME, for a user of no name
    assert disk.cache_folder().parent == Path(tempfile.gettempdir())
