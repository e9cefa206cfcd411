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

from oneticket.ground.errors import StoreError
from oneticket.ground.interpreter import start, startable
from oneticket.ground.stop_signals import STOPS
from oneticket.ground.threads import cores

CODE = "from oneticket.engine.nursery import main; main()"


def able() -> bool:
    """Whether a process that has imported PyTorch can be started and forked: macOS may end it, Windows cannot.

    >>> able() == (sys.platform == "linux")
    True
    """
    return sys.platform == "linux" and startable()


class Nursery:
    """The process, with the socket on which it is asked for workers. It ignores Ctrl-C, and ends when this one does.

    Raises StoreError where no process can be started.
    """

    def __init__(self) -> None:
        said = _standard_error()
        try:
            self._door, theirs = socket.socketpair()
            with theirs, contextlib.ExitStack() as failed:
                failed.callback(self._door.close)
                self.process = start(CODE, stdin=theirs.fileno(), stdout=said, stderr=said)
                failed.pop_all()
        except OSError as error:
            raise StoreError(f"no process could be started for workers: {error}; use --engine inline") from None

    def born(self) -> socket.socket:
        """The socket of a new worker; it is closed at the other end if that process ends, or never began."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):  # the nursery was lost
            socket.send_fds(self._door, [b"1"], [theirs.fileno()])
        return ours

    def lost(self) -> bool:
        """Whether it ended by itself. Its number stays its own until `end`, for the sake of its workers."""
        if self.process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # this process ignores SIGCHLD, or others in it wait for any child
            self.process.poll()  # its number may be another's by now
            return True

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
        with contextlib.suppress(StoreError):  # the run may need none
            _expected.append(Nursery())
    try:
        yield
    finally:
        needless()


def take() -> Nursery:
    """The expected nursery, or a new one; the caller ends it."""
    return _expected.pop() if _expected else Nursery()


def needless() -> None:
    """End the expected nursery: the run that it was expected for has no use for it, and may take all night."""
    while _expected:
        _expected.pop().end()


def _standard_error() -> int:
    """What a nursery and its workers write to: both standard streams must be open, or sockets take their numbers."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return subprocess.DEVNULL if sys.__stderr__ is None else 2


def main() -> None:
    """Be a nursery: a byte with a socket makes a worker that listens to it; the end of standard input ends it.

    Whoever ends a job by signals sends them to all its processes. They are for the run alone, which asks its workers
    for checkpoints; all end when it does.
    """
    for number in DEAF:
        signal.signal(number, _deaf)  # not SIG_IGN, which programs that a worker starts would inherit
    os.register_at_fork(after_in_child=_hear_again)
    from oneticket.engine.line import refuse, serve  # takes the time that `import torch` takes
    from oneticket.guard import zero

    with contextlib.suppress(Exception):  # no room for compiled kernels, for example: then workers see to themselves
        zero.load()
    with socket.socket(fileno=os.dup(0)) as door:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # workers are killed at the end
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
        gc.freeze()
        while fds := socket.recv_fds(door, 1, 1)[1]:
            with socket.socket(fileno=fds[0]) as line:
                try:
                    _fork(line, serve, door)
                except OSError as error:  # no memory, or too many processes; the workers that are there go on
                    refuse(line, error)


def _fork(line: socket.socket, serve: Callable[[socket.socket], None], door: socket.socket) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads: of BLAS, which knows about forks
        if os.fork():
            return
    code = 1
    try:
        door.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in DEAF:  # a fork of this worker hears again, the worker does not
            signal.signal(number, _deaf)
        _draw_anew()
        serve(line)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _draw_anew() -> None:
    """Give numpy's global generator its own state in each worker; forks would all draw the same numbers.

    It is for a user's own code alone. Python gives its own generator a new state, and torch's is seeded for each step.
    """
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()


def _deaf(number: int, frame: object) -> None: ...


def _hear_again() -> None:
    for number in DEAF:
        signal.signal(number, signal.SIG_DFL)


DEAF = [*STOPS, *(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))]
"""What is sent to all processes of a job by those who end it: a service manager, a queue, a closed terminal."""
