"""Helpers: other processes of this machine that do steps in parallel with this one.

A helper receives addresses and answers with words, as Ray's workers do, in lines of JSON; outcomes go through the store
only. It starts while this process is at its first step. If a helper is lost, another process does its step.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from oneticket.engine.cluster import ClusterShare
from oneticket.engine.execute import PAUSE
from oneticket.engine.scheduler import Front
from oneticket.engine.worker import Answer, Worker
from oneticket.ground import errors
from oneticket.ground.errors import StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.store.store import Store

PAYS = 16
"""Steps that are left for each process: with fewer, to start one takes longer than it saves."""


def cores() -> int:
    """How many cores this process may use.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def helping(front: Front, *, store: Store, context: RunContext, processes: int) -> Iterator[None]:
    """Have up to `processes - 1` helpers do steps of the front while the block does others.

    There are as many as cores and steps pay for. There are none where results could differ or a helper could not work:
    without a number of threads, on another device than CPUs, with a store in memory or steps that need a file. All have
    ended once the block has; after an exception, the steps they were at are stopped with a checkpoint.
    """
    able = bool(context.threads) and context.device.type == "cpu" and not store.url.startswith("memory:")
    most = min(processes, cores() // (context.threads or 1), front.left // PAYS, round(front.wide))
    crew = [Helper(store, context) for _ in range(most - 1 if able and front.portable else 0)]
    if not crew:
        yield
        return
    with contextlib.ExitStack() as ending:
        for helper in crew:
            ending.callback(helper.close)
        pool = ending.enter_context(ThreadPoolExecutor(len(crew)))
        ending.callback(_end, crew)
        for helper in crew:
            pool.submit(_mind, helper, front)
        yield


class Helper:
    """A process, with the lines to and from it. It ignores Ctrl-C, and stops when this process ends."""

    def __init__(self, store: Store, context: RunContext) -> None:
        about = {
            "url": store.location,
            "every": context.every,
            "compact": context.compact,
            "compiled": context.compiled,
        }
        options = json.dumps({**about, "threads": context.threads})
        self.over = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from oneticket.engine.helpers import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        _say(self.process.stdin, options)  # not in its command line, which all users of the machine can read

    def do(self, key: str) -> Answer | None:
        """Have it do the step; None if it is no more."""
        _say(self.process.stdin, key)
        line = self.process.stdout.readline() if self.process.stdout else b""
        answer: Answer | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""
        self.over.set()
        _say(self.process.stdin, "")

    def close(self) -> None:
        """Close its lines, once it is no more."""
        for line in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was written and not read
                if line is not None:
                    line.close()


def _mind(helper: Helper, front: Front) -> None:
    """Give it one step after the other, until there are none, it is asked to stop, or it is lost."""
    try:
        while front.left and not helper.over.is_set():
            step = front.take()
            if step is None:
                helper.over.wait(PAUSE)
                continue
            answer = helper.do(step.key)
            if answer is None:
                front.end(step, "lost")
                return
            for line in answer["warnings"]:
                warnings.warn(line, errors.KeptWarning, stacklevel=1)
            if answer["said"] in ("failed", "broke"):
                kind = getattr(errors, answer["error"], StoreError)
                front.fail(step, kind(answer["text"]))
            elif answer["said"] != "stopped":
                front.end(step, answer["said"])
    except BaseException as error:
        front.broken = error  # raised where the others walk on


def _end(crew: Sequence[Helper]) -> None:
    """Ask all to end and wait until they have; a second Ctrl-C ends them at once."""
    try:
        for helper in crew:
            helper.stop()
        for helper in crew:
            helper.process.wait()
    finally:
        for helper in crew:
            helper.process.kill()
            helper.process.wait()


def main() -> None:
    """Do the steps whose addresses come in lines, after one of options, until an empty one or none comes.

    Printed text goes elsewhere.
    """
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        worker = Worker(**json.loads(sys.stdin.readline()), device="cpu", share=ClusterShare(), ranks=1)
        heard: queue.Queue[str] = queue.Queue()

        def listen() -> None:
            while key := sys.stdin.readline().strip():
                heard.put(key)
            worker.stop()
            heard.put("")

        threading.Thread(target=listen, daemon=True).start()
        while key := heard.get():
            _say(answers, json.dumps(worker.do(key)))


def _say(to: IO[bytes] | None, words: str) -> None:
    """Write a line; errors are ignored, since a lost reader is noticed by its missing answer."""
    with contextlib.suppress(OSError, ValueError):
        if to is not None:
            to.write(words.encode() + b"\n")
            to.flush()
