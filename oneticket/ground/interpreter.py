"""Another Python process of ours: whether one can be started, and how."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any


def startable() -> bool:
    """Whether this program can start Python: one that brings its own Python would start itself again.

    >>> startable()
    True
    """
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def start(code: str, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
    """A process that runs the code, which imports what this one would; Ctrl-C reaches this one alone.

    Raises OSError and ValueError as `Popen` does, among others where no further process is allowed.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, searched()))},
        start_new_session=True,
        **streams,
    )


def searched() -> list[str]:
    """The folders in which imports are searched, without what `sys.path` holds that is no text, as Python does."""
    return [each for each in sys.path if isinstance(each, str)]
