"""A proxy before an S3 server, which spoils the `at`-th answer, or all from then on."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SPOILS = ("500", "503", "cut short", "lost before", "lost after")
"""An error, half of the content, a connection that ends before the request gets there, or before its answer comes."""
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>spoiled</Message></Error>"
CODES = {"500": "InternalError", "503": "SlowDown"}


@dataclass
class Proxy:
    """What is spoiled, and what came by."""

    server: str
    spoil: str = ""
    at: int = 0
    lasting: bool = False
    url: str = ""
    seen: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, spoil: str, at: int, *, lasting: bool = False) -> None:
        with self.lock:
            self.spoil, self.at, self.lasting = spoil, at, lasting
            self.seen.clear()

    def spoiled(self, request: str) -> str:
        """What becomes of the answer to the next request."""
        with self.lock:
            self.seen.append(request)
            count = len(self.seen)
            return self.spoil if count == self.at or (self.lasting and count > self.at > 0) else ""


@contextlib.contextmanager
def proxied(server: str) -> Iterator[Proxy]:
    """The proxy, as long as the block runs."""
    proxy = Proxy(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            spoil = proxy.spoiled(f"{self.command} {self.path}")
            if spoil == "lost before":
                self.close_connection = True
                return
            if spoil in CODES:
                self.send(int(spoil), {"Content-Type": "application/xml"}, ERROR.format(code=CODES[spoil]).encode())
                return
            where = urlsplit(proxy.server)
            line = http.client.HTTPConnection(where.hostname or "", where.port)
            line.request(self.command, self.path, body, dict(self.headers))
            answer = line.getresponse()
            content, headers = answer.read(), dict(answer.getheaders())
            line.close()
            if spoil == "lost after":
                self.close_connection = True
                return
            self.send(answer.status, headers, content, short=spoil == "cut short")

        def send(self, status: int, headers: dict[str, str], content: bytes, *, short: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if short else content)
            self.close_connection = short

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_: Any) -> None: ...

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    proxy.url = f"http://127.0.0.1:{web.server_port}"
    try:
        yield proxy
    finally:
        web.shutdown()
        thread.join()
        web.server_close()
