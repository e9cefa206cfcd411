"""Faults, injected where a program meets the system: a call on a file below a folder fails, or all from then on."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WRITES = ("open to write", "write", "fsync", "mkdir", "link", "replace", "rename")
SYSTEM = {
    name: getattr(os, name) for name in ("open", "fsync", "replace", "rename", "link", "unlink", "mkdir", "scandir")
}
OPEN = builtins.open


@dataclass
class Faults:
    """Counts the calls; `at`: which one fails, from 1, with `number`; `lasting`: all writes from there on fail.

    `torn`: it is not a call that fails but the `at`-th write, half-way, and its process is killed there.
    """

    root: Path
    at: int = 0
    number: int = errno.EIO
    lasting: bool = False
    torn: bool = False
    calls: list[str] = field(default_factory=list)

    def hit(self, what: str) -> None:
        self.calls.append(what)
        count = len(self.calls)
        fails = count == self.at or (self.lasting and count > self.at > 0 and what in WRITES)
        if fails and not self.torn:
            raise OSError(self.number, os.strerror(self.number))

    def under(self, path: object) -> bool:
        if isinstance(path, int):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{path}")
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(self.root))


class File:
    """An open file whose reads and writes are counted."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self.file, self.faults = file, faults

    def read(self, *size: int) -> Any:
        self.faults.hit("read")
        return self.file.read(*size)

    def readinto(self, room: Any) -> Any:
        self.faults.hit("read")
        return self.file.readinto(room)

    def write(self, data: Any) -> Any:
        self.faults.hit("write")
        if self.faults.torn and self.faults.calls.count("write") == self.faults.at:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.file)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@contextlib.contextmanager
def faulty(faults: Faults) -> Iterator[Faults]:
    """Let the calls of this process go through the faults."""

    def opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if not faults.under(path):
            return OPEN(path, mode, *rest, **more)
        faults.hit("open to write" if set(mode) & set("wxa+") else "open")
        return File(OPEN(path, mode, *rest, **more), faults)

    def through(name: str) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **more: Any) -> Any:
            if faults.under(path):
                faults.hit(name)
            return SYSTEM[name](path, *rest, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", opened)
        for name in SYSTEM:
            patch.setattr(os, name, through(name))
        yield faults
