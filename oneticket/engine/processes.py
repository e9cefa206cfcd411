"""The engine of processes: several steps at once on this machine's cores, each by a process of its own.

A worker receives addresses and answers with words, as Ray's workers do, in lines of JSON; outcomes go through the store
only. Workers are forked from a nursery.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from oneticket.engine import nursery
from oneticket.engine.crew import named, reachable, walk
from oneticket.engine.nursery import Nursery
from oneticket.engine.scheduler import Front, Observer, Piles
from oneticket.engine.worker import Answer, answer
from oneticket.ground.errors import SpecError, StoreError
from oneticket.ground.interpreter import searched
from oneticket.ground.threads import cores
from oneticket.lottery.run_context import RunContext
from oneticket.store.step import Step
from oneticket.store.store import Store


def run(
    steps: Iterable[Step],
    *,
    store: Store,
    context: RunContext,
    observe: Observer | None = None,
    most: int | None = None,
) -> Piles:
    """Do the steps that are not in the store yet, up to `most` at once: by default one for each core.

    A step whose process is lost is begun again, from its last checkpoint. `context` gives the threads of a training
    (one by default), the time between checkpoints, and when to stop: all running steps then write one. Its watchers
    stay here: workers have none.

    Raises SpecError on another device than a CPU and where no process can be forked, StoreError for a store that other
    processes cannot reach and for processes that do not start, and KeyboardInterrupt when asked to stop. `observe`
    receives the events of `inline.run`.
    """
    reachable(store)
    if context.device.type != "cpu":
        raise SpecError(f"the engine processes trains on CPUs, not on {context.device}; use --engine ray, or inline")
    if not nursery.able():
        raise SpecError("the engine processes needs Linux and a Python to start; use --engine ray, or inline")
    front = Front(steps, store=store, observe=observe, longest_first=True)
    if not front.left:
        return front.piles()
    named(front)
    workers = Processes(store=store, context=context, most=most or cores())
    with contextlib.closing(workers):
        return walk(front, workers, store=store, context=context)


@dataclass(eq=False)
class _Line:
    """A worker: the socket to its process, and what has come of a line."""

    socket: socket.socket
    begun: bytes = b""

    def say(self, words: str) -> None:
        """Write a line; a lost reader is noticed by the end of its answers."""
        with contextlib.suppress(OSError):
            self.socket.sendall(words.encode() + b"\n")


@dataclass(kw_only=True)
class Processes:
    """The workers of a run, and their nurseries: the last one is asked for workers, those before it were lost."""

    store: Store
    context: RunContext
    most: int
    starts: int = 3
    nurseries: list[Nursery] = field(default_factory=lambda: [nursery.take()])
    _lines: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def close(self) -> None:
        """End all processes."""
        for one in self.nurseries:
            one.end()
        for each in [*self._lines.get_map().values()]:
            self.end(each.data)
        self._lines.close()

    def room(self) -> int:
        """See `crew.Workers`."""
        return self.most

    def start(self) -> _Line:
        """A new process, from a new nursery if this one was lost."""
        if self.nurseries[-1].lost():
            with contextlib.suppress(StoreError):  # the lost one brings none: workers that are there go on
                self.nurseries.append(nursery.take())
        line = _Line(self.nurseries[-1].born())
        self._lines.register(line.socket, selectors.EVENT_READ, line)
        context = self.context
        about = {
            "url": self.store.location,
            "every": context.every,
            "compact": context.compact,
            "compiled": context.compiled,
        }
        line.say(json.dumps({"path": searched(), "worker": {**about, "threads": context.threads or 1}}))
        return line

    def give(self, worker: _Line, key: str) -> None:
        """Send it the address."""
        worker.say(key)

    def heard(self, pause: float) -> list[tuple[Any, Answer]]:
        """Read from all that have something to say."""
        found: list[tuple[Any, Answer]] = []
        for ready, _ in self._lines.select(pause):
            worker: _Line = ready.data
            try:
                came = worker.socket.recv(1 << 16)
            except ConnectionError:
                came = b""
            *whole, worker.begun = (worker.begun + came).split(b"\n")
            found += [(worker, json.loads(line)) for line in whole]
            if not came:
                self._lines.unregister(worker.socket)
                found.append((worker, answer("gone", text="its process ended by itself, or was killed")))
        return found

    def ask_to_stop(self, worker: _Line) -> None:
        """Send it an empty line."""
        worker.say("")

    def end(self, worker: _Line) -> None:
        """Close its line: at rest it ends at once, else the end of the nursery ends it."""
        with contextlib.suppress(KeyError, ValueError):
            self._lines.unregister(worker.socket)
        worker.socket.close()
