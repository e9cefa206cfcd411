"""Elsewhere: one function of ours called in a process of its own, for what would stay in this one's memory.

Loading a compiler and compiling takes some 80 MB that Python and the compiler keep. A process that ends gives it back.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import Any

from oneticket.ground.door import door
from oneticket.ground.interpreter import start, startable

CODE = "from oneticket.ground.elsewhere import main; main()"


def elsewhere(path: str, given: Any) -> Any:
    """What the function at `room.file:name` (`door`) returns for `given`, both JSON; None if there is no such process.

    There is none in a program that brings its own Python, where a process cannot be started, and where the function
    fails: callers then call it here. The other process ends with this one; Ctrl-C reaches this one, which then ends it.

    >>> elsewhere("ground.canon:dumps", {"b": [1.5], "a": None})
    '{"a":null,"b":[1.5]}'
    >>> elsewhere("ground.canon:lacking", {}) is None
    True
    """
    if not startable():
        return None
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with contextlib.suppress(OSError, ValueError), start(CODE, path, **pipes) as process:
        try:
            return _answer(process, json.dumps(given))
        finally:
            process.kill()
    return None


def _answer(process: subprocess.Popen[bytes], asked: str) -> Any:
    """Its answer; standard input stays open until then, whose end would say that this process was lost."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(asked.encode() + b"\n")
    process.stdin.flush()
    return json.loads(process.stdout.read())


def main() -> None:
    """Call the function that the command line names with what stdin says; other text that is printed goes elsewhere."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        asked = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_the_other, daemon=True).start()
        answer.write(json.dumps(door(sys.argv[1])(asked)).encode())


def _end_with_the_other() -> None:
    """End this process, whatever it is at, once nobody is left to hear its answer."""
    os.read(0, 1)  # not by `sys.stdin`, whose lock would be held when Python ends
    os._exit(1)
