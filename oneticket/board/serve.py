"""Serving the board: a port on the loopback address, and a server that ends when it is asked to."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from oneticket.board.gate import Gate, Site, loopback
from oneticket.ground.errors import OneticketError, SpecError
from oneticket.ground.extras import naming_extras

SILENT = 20.0
"""Seconds in which a request must come on a new connection."""


class PortError(OneticketError):
    """The port cannot be had."""


def listening(port: int, *, ipv6: bool = False) -> list[socket.socket]:
    """Open the port on 127.0.0.1 and, if asked, on ::1; 0 takes any that is free. Nothing else is ever listened on.

    Raises SpecError for what is no port, PortError for one that is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise SpecError(f"--port: expected 0 to 65535, got {port}")
    found = [_bound(socket.AF_INET, "127.0.0.1", port)]
    if ipv6:
        try:
            found.append(_bound(socket.AF_INET6, "::1", port_of(found)))
        except PortError:
            found[0].close()
            raise
    return found


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port that these were opened on."""
    return int(sockets[0].getsockname()[1])


class BoardServer:
    """A server of a site on these sockets; `run` returns after Ctrl-C or `stop`, when the last answer is sent."""

    @naming_extras()
    def __init__(self, site: Site, sockets: list[socket.socket]) -> None:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        class Line(H11Protocol):
            """A connection, which is closed if no request came on it for a while: it takes a place from others."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                self.loop.call_later(SILENT, self.hang_up)

            def hang_up(self) -> None:
                """End it, unless it has asked for something since."""
                if self.cycle is None:
                    self.transport.close()

        self._sockets = sockets
        gate = Gate(site, hosts=loopback(port_of(sockets)))
        config = uvicorn.Config(
            gate,
            http=Line,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what others send is no matter for this terminal
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=100,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{port_of(self._sockets)}/"

    def run(self) -> None:
        """Answer until it is stopped."""
        self._server.run(sockets=self._sockets)

    def stop(self) -> None:
        """Ask it to end, from any thread."""
        self._server.should_exit = True


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on other systems two servers would share the port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen()
    except OSError as error:
        made.close()
        raise PortError(
            f"port {port} on {host} cannot be had: {error.strerror}; another board may be there: take another --port, "
            "or --port 0 for any that is free"
        ) from error
    return made
