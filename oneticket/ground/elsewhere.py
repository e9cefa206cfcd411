"""Elsewhere: one function of ours called in a process of its own, for what would stay in this one's memory.

Loading a compiler and compiling takes some 80 MB that Python and the compiler keep. A process that ends gives it back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from oneticket.ground.door import door


def elsewhere(path: str, given: Any) -> Any:
    """What the function at `room.file:name` (`door`) returns for `given`, both JSON; None if there is no such process.

    There is none in a program that brings its own Python, where a process cannot be started, and where the function
    fails: callers then call it here. Ctrl-C reaches this process alone, which then ends the other.

    >>> elsewhere("ground.canon:dumps", {"b": [1.5], "a": None})
    '{"a":null,"b":[1.5]}'
    >>> elsewhere("ground.canon:lacking", {}) is None
    True
    """
    if getattr(sys, "frozen", False) or not sys.executable:  # which would start that program again
        return None
    asked = [sys.executable, "-P", "-c", "from oneticket.ground.elsewhere import main; main()", path]
    try:
        done = subprocess.run(
            asked,
            input=json.dumps(given).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
            check=True,
        )
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def main() -> None:
    """Call the function that the command line names with what stdin says; other text that is printed goes elsewhere."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        answer.write(json.dumps(door(sys.argv[1])(json.load(sys.stdin))).encode())
