"""A terminal that closes: a run in it writes a checkpoint and ends; under nohup it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import FOREVER, until

from oneticket.session.run import stop_requests

pty = pytest.importorskip("pty", reason="no terminals of this kind")
WORDS = "find --data digits:a --levels 1 --out a"
COMMAND = [sys.executable, "-m", "oneticket", *WORDS.split()]

OWN = """
import time
from pathlib import Path
from torch import nn

class Told(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = nn.Linear(64, 8), nn.Linear(8, classes)

    def forward(self, images):
        if self.training:
            Path("training").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        return self.head(self.body(images.flatten(1)).relu())

def make(*, shape, classes):
    return Told(classes)
"""

IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may themselves run under nohup
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_closed_terminal_leaves_a_checkpoint(here: Path) -> None:
    Path("own.py").write_text(OWN)
    Path("go").touch()
    ours, its = pty.openpty()
    command = [sys.executable, "-c", IN_A_TERMINAL, *COMMAND, "--model", "own.py:make", "--budget", "100000ep"]
    run = subprocess.Popen(command, stdin=its, stdout=its, stderr=its)
    os.close(its)
    os.set_blocking(ours, False)

    def trains() -> bool:
        with contextlib.suppress(OSError):  # there is nothing to read
            os.read(ours, 65536)
        return Path("training").exists() or run.poll() is not None

    until(trains, "the first steps")
    os.close(ours)
    run.send_signal(signal.SIGHUP)  # a shell sends it to its jobs, and the terminal to its own processes
    assert run.wait(timeout=FOREVER) == 130
    assert len([*here.rglob("under-way/*.safetensors")]) == 1


def test_a_run_under_nohup_goes_on(here: Path) -> None:
    Path("own.py").write_text(OWN)
    with open("said", "wb") as said:
        run = subprocess.Popen(
            ["nohup", *COMMAND, "--budget", "2ep", "--model", "own.py:make"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    until(lambda: Path("training").exists() or run.poll() is not None, "the first step")
    run.send_signal(signal.SIGHUP)
    Path("go").touch()
    assert run.wait(timeout=FOREVER) == 0, Path("said").read_text()
    assert [*Path("a").iterdir()]


def test_a_program_that_has_its_own_use_for_sighup_keeps_it() -> None:
    heard = []
    before = signal.signal(signal.SIGHUP, lambda *_: heard.append("ours"))
    try:
        with stop_requests() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
        assert heard == ["ours"] and not asked()
    finally:
        signal.signal(signal.SIGHUP, before)
