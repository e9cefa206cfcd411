"""The worker's end of a line: a socket on which addresses come and answers go, in lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import sys
import threading

from oneticket.engine.cluster import ClusterShare
from oneticket.engine.worker import Answer, Worker, answer


def refuse(line: socket.socket, error: OSError) -> None:
    """Say why no worker will listen to this line."""
    with contextlib.suppress(OSError):
        line.sendall(json.dumps(answer("gone", text=f"no process could be forked: {error}")).encode() + b"\n")


def serve(line: socket.socket) -> None:
    """Be a worker: do the steps whose addresses come in lines, until an empty one; end at once where the line ends."""
    os.register_at_fork(after_in_child=lambda: _leave(line))
    asked, answers = line.makefile("r"), line.makefile("w")  # not closed: a thread may be reading
    about = json.loads(asked.readline())
    sys.path[:] = about["path"]
    worker = Worker(**about["worker"], device="cpu", share=ClusterShare(), ranks=1)
    heard: queue.Queue[str] = queue.Queue()

    def say(words: Answer) -> None:
        with contextlib.suppress(OSError):
            answers.write(json.dumps(words) + "\n")
            answers.flush()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while said := asked.readline():
                if not said.strip():
                    worker.stop()
                heard.put(said.strip())
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    say(answer("up"))
    while key := heard.get():
        say(worker.do(key))


def _leave(line: socket.socket) -> None:
    """Close the line in a process that a user's code forked: the line ends with the worker, not with the last fork."""
    with contextlib.suppress(OSError):
        os.close(line.detach())  # `close` would wait for the files that were made of it
