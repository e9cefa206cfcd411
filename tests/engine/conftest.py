"""A folder with networks of the user's own, for all tests of engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gated import SLOW, open_gate


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's own, with networks that wait or do harm; it writes down who trains when.

    No process does more training steps than the file `gate` says.
    """
    (tmp_path / "own_networks.py").write_text(SLOW.format(log=str(tmp_path / "log"), gate=str(tmp_path / "gate")))
    open_gate(tmp_path)
    (tmp_path / "log").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_networks", None)
