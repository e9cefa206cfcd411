"""Files damaged at random: the two readers agree, nothing but a FileError is raised, and memory has a ceiling."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz.py")


def fuzzed(*arguments: str) -> None:
    """Run the laws in a process of their own, because a ceiling of memory stays."""
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "fuzzed\n"), done.stderr[-5000:]


def test_the_same_few_hundred_files() -> None:
    fuzzed("250")


@pytest.mark.fuzz
def test_other_files_every_time() -> None:
    chance = int.from_bytes(os.urandom(4), "little")
    print("seed", chance)
    fuzzed("20000", str(chance))
