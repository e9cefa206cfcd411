"""A board in a thread, and what is asked of it: plain requests, with every header as given."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from waiting import until

from oneticket.board.board import Board
from oneticket.board.serve import BoardServer, listening, port_of
from oneticket.board.site import answer


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Served:
    """A board that runs."""

    board: Board
    port: int

    def get(self, path: str, *, method: str = "GET", host: str | None = None, **headers: str) -> Reply:
        """Ask for a page; `host` in place of the right one, "" for none; `if_none_match` is If-None-Match."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port)
        asked.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if host != "":
            asked.putheader("Host", f"127.0.0.1:{self.port}" if host is None else host)
        for name, value in headers.items():
            asked.putheader(name.replace("_", "-"), value)
        asked.endheaders()
        found = asked.getresponse()
        reply = Reply(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read().decode())
        asked.close()
        return reply

    def read(self) -> None:
        """Wait until the index has read all that is there."""
        until(lambda: not self.board.index.lacking(self.board.view.look()), "all outcomes read")


@contextmanager
def serving(store: Path | str, *studies: str) -> Iterator[Served]:
    """A board of that store on a free port, in a thread."""
    board, sockets = Board(store, studies), listening(0)
    server = BoardServer(partial(answer, board), sockets)
    thread = threading.Thread(target=server.run)
    port = port_of(sockets)
    with board.reading():
        thread.start()
        try:
            yield Served(board, port)
        finally:
            server.stop()
            thread.join()
