"""The nursery: a process that has imported all that a worker needs, and becomes one more worker whenever asked.

A worker of its own takes 1.5 s to import PyTorch and numba; one that is forked from the nursery takes some 20 ms, and
shares the memory of what was imported. The nursery itself does nothing else, so it is safe to fork. It imports no torch
until it runs, so that a command can start it before its own imports.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator

from oneticket.ground.threads import cores

CODE = "from oneticket.engine.nursery import main; main()"


def able() -> bool:
    """Whether this system can fork a process that has imported PyTorch: macOS may end it, Windows cannot.

    >>> able() == (sys.platform == "linux")
    True
    """
    return sys.platform == "linux"


class Nursery:
    """The process, with the socket on which it is asked for workers. It ignores Ctrl-C, and ends when this one does."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", CODE],
                stdin=theirs.fileno(),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )

    def born(self) -> socket.socket:
        """The socket of a new worker; it is closed at the other end if that process ends, or never began."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):  # the nursery was lost
            socket.send_fds(self._door, [b"1"], [theirs.fileno()])
        return ours

    def lost(self) -> bool:
        """Whether it ended by itself. Its number stays its own until `end`, for the sake of its workers."""
        return (
            self.process.returncode is not None
            or os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def end(self) -> None:
        """End it and all its workers, at once."""
        self._door.close()
        if self.process.returncode is None:  # not yet waited for, so the number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


_expected: list[Nursery] = []


@contextlib.contextmanager
def expected() -> Iterator[None]:
    """Start a nursery for the first run within the block, which imports while this process does; none on one core."""
    if able() and cores() > 1:
        _expected.append(Nursery())
    try:
        yield
    finally:
        while _expected:
            _expected.pop().end()


def take() -> Nursery:
    """The expected nursery, or a new one; the caller ends it."""
    return _expected.pop() if _expected else Nursery()


def main() -> None:
    """Be a nursery: a byte with a socket makes a worker that listens to it; the end of standard input ends it."""
    from oneticket.engine.processes import serve  # takes the time that `import torch` takes
    from oneticket.guard import zero

    zero.load()
    with socket.socket(fileno=os.dup(0)) as door:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
        gc.freeze()
        while fds := socket.recv_fds(door, 1, 1)[1]:
            with socket.socket(fileno=fds[0]) as line:
                _fork(line, serve, door)


def _fork(line: socket.socket, serve: Callable[[socket.socket], None], door: socket.socket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads: of BLAS, which knows about forks
        if os.fork():
            return
    code = 1
    try:
        door.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve(line)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
