"""Other processes for tests, forked from one that has imported PyTorch, since to start is not what they test.

Where the start of a process is tested, or what it imports, take `subprocess`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from waiting import FOREVER

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["oneticket.engine.inline", "sklearn.datasets"])


class Ended(NamedTuple):
    """How a process ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class Child:
    """`python WORDS`, under way: WORDS are `-c CODE`, `-m MODULE` or a file, and the arguments.

    `env`: its whole environment; `warn`: what `-W` would say.
    """

    def __init__(
        self, *words: str | Path, env: Mapping[str, str] = os.environ, cwd: Path | None = None, warn: Sequence[str] = ()
    ) -> None:
        self.said = [tempfile.NamedTemporaryFile("r") for _ in range(2)]  # noqa: SIM115
        where = Path.cwd() if cwd is None else cwd
        files = [file.name for file in self.said]
        self.process = CONTEXT.Process(target=_become, args=([*map(str, words)], dict(env), where, [*warn], files))
        self.process.start()

    def end(self) -> Ended:
        """Wait for its end."""
        self.process.join(FOREVER)
        assert self.process.exitcode is not None, "it never ended"
        out, err = [file.read() for file in self.said]
        return Ended(self.process.exitcode, out, err)

    def kill(self) -> None:
        """End it where it has not ended, and forget it."""
        self.process.kill()
        self.process.join()
        for file in self.said:
            file.close()


def run(
    *words: str | Path, env: Mapping[str, str] = os.environ, cwd: Path | None = None, warn: Sequence[str] = ()
) -> Ended:
    """What `python WORDS` comes to."""
    child = Child(*words, env=env, cwd=cwd, warn=warn)
    try:
        return child.end()
    finally:
        child.kill()


def _become(words: list[str], env: dict[str, str], where: Path, warn: list[str], files: list[str]) -> None:
    for number, name in enumerate(files, start=1):
        os.dup2(os.open(name, os.O_WRONLY), number)
    os.chdir(where)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    warnings._processoptions(warn)  # type: ignore[attr-defined]
    first, *rest = words
    sys.path[:0] = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    if first == "-c":
        code, *sys.argv[1:] = rest
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv[1:] = rest[1:]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = words
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")
