"""`oneticket board`: a page over a store in the browser, until Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from threading import Thread

from oneticket.board.board import Board
from oneticket.board.serve import BoardServer, listening
from oneticket.board.site import answer
from oneticket.cli.browser import NO_BROWSER, graphical_browser
from oneticket.ground.phase import phase
from oneticket.session.run import stop_requests
from oneticket.session.terminal import say, tell

BEHIND = 10  # niceness: a study that runs at the same time comes first


def board(studies: Sequence[str], *, store: str, port: int, ipv6: bool, show: bool) -> int:
    """Serve the board of a store, and print its address."""
    with phase("planning"):
        made = Board(store, studies)
    sockets = listening(port, ipv6=ipv6)
    server = BoardServer(partial(answer, made), sockets)
    if hasattr(os, "nice"):
        os.nice(BEHIND)
    with stop_requests(server.stop), made.reading():
        say(f"{server.url} shows {made.store.url}, read-only, to this machine alone; Ctrl-C ends it")
        if show:
            _open(server.url)
        server.run()
    tell("the board has ended")
    return 0


def _open(url: str) -> None:
    """Open the page beside the server, which answers at once however long the browser's command takes."""
    browser = graphical_browser()
    if browser is None:
        tell(f"{NO_BROWSER}; open {url} yourself")
    else:
        Thread(target=browser.open, args=(url,), daemon=True).start()
