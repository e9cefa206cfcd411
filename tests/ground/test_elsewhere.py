"""A process of ours that computes for this one: it imports what this one would, and never outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oneticket.ground.elsewhere import elsewhere
from oneticket.ground.interpreter import startable


def test_the_path_of_imports_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere"), None])
    assert elsewhere("ground.canon:dumps", {"a": 1}) == '{"a":1}'


def test_a_program_that_brings_its_own_python_does_not_start_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not startable() and elsewhere("ground.canon:dumps", {}) is None
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "")
    assert not startable() and elsewhere("ground.canon:dumps", {}) is None


CODE = """
import os, threading
from oneticket.ground import elsewhere

def hangs(given):
    os.write(os.open(given, os.O_WRONLY), b".")
    threading.Event().wait()

elsewhere.door = lambda path: hangs
elsewhere.main()
"""
ASKS = """
import sys
from oneticket.ground import elsewhere
elsewhere.CODE = sys.argv[1]
elsewhere.elsewhere("", sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_computes_for_a_killed_process_ends_with_it(tmp_path: Path) -> None:
    """Which has the only end of a pipe to write to."""
    os.mkfifo(pipe := tmp_path / "pipe")
    asks = subprocess.Popen([sys.executable, "-c", ASKS, CODE, str(pipe)])
    with pipe.open("rb", buffering=0) as said:
        assert said.read(1) == b"."
        asks.kill()
        asks.wait()
        assert said.read(1) == b""
