"""The gate: which requests reach a page, and the security headers of every answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from oneticket.ground.errors import OneticketError

OWN = (None, "same-origin", "none")
"""Of Sec-Fetch-Site; another port of this machine is `same-site`, and not the board's own."""

LONGEST = 2000
"""Bytes of a path or of a query that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: the steps of the path, each a text, and the last value of each name in the query."""

    steps: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent back. `lasting`: what lies at this address never changes."""

    body: str | bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    lasting: bool = False


Site = Callable[[Request], Answer]
Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Gate:
    """An ASGI application around a site that answers only a browser of this machine, and only GET and HEAD.

    `hosts`: accepted values of the header Host, such as `127.0.0.1:8321`. A foreign name that resolves to this machine
    is refused by its Host; a request from a foreign page is refused by its Origin or Sec-Fetch-Site. No header lets
    another origin read an answer. A page that fails is reported in one line.
    """

    def __init__(self, site: Site, *, hosts: frozenset[str]) -> None:
        self._site, self._hosts = site, hosts

    async def __call__(self, scope: Scope, _receive: object, send: Send) -> None:
        if scope["type"] != "http":
            return
        refused = self._refusal(scope)
        answer = await asyncio.to_thread(self._answer, scope) if refused is None else refused
        body = answer.body.encode("utf-8", "backslashreplace") if isinstance(answer.body, str) else answer.body
        headers = self._headers(scope)
        mark = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        same = answer.status == 200 and headers.get("if-none-match") == mark
        keep = "max-age=31536000, immutable" if answer.lasting else "no-cache"
        said = {**ALWAYS, "etag": mark, "cache-control": f"private, {keep}"}
        if not same:
            said |= {"content-type": answer.kind, "content-length": str(len(body))}
        if answer.status == 405:
            said["allow"] = "GET, HEAD"
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in said.items()]
        status = 304 if same else answer.status
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if same or scope["method"] == "HEAD" else body})

    def _refusal(self, scope: Scope) -> Answer | None:
        """Why a request is not looked at; None if it may be."""
        headers = self._headers(scope)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self._hosts:
            return _plain(403, f"This board answers at {' or '.join(sorted(self._hosts))} alone.")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return _plain(403, "This board answers no other page.")
        own = headers.get("sec-fetch-site") in OWN
        if not own and headers.get("sec-fetch-mode") != "navigate":
            return _plain(403, "This board answers no other page.")
        if scope["method"] not in ("GET", "HEAD"):
            return _plain(405, "This board is read-only: GET and HEAD.")
        if not scope["raw_path"].startswith(b"/"):
            return _plain(400, "This is no address of the board.")
        if len(scope["raw_path"]) > LONGEST or len(scope["query_string"]) > LONGEST:
            return _plain(414, "This address is too long.")
        return None

    def _answer(self, scope: Scope) -> Answer:
        path = scope["raw_path"].decode("latin-1").split("?")[0]
        steps = tuple(unquote(step, errors="replace") for step in path.split("/")[1:] if step)
        query = parse_qsl(scope["query_string"].decode("latin-1"), errors="replace")
        try:
            return self._site(Request(steps=steps, query=dict(query)))
        except OneticketError as error:
            return _plain(503, f"The store cannot be shown: {error}")
        except Exception as error:
            return _plain(500, f"This page broke off: {type(error).__name__}: {error}")

    @staticmethod
    def _headers(scope: Scope) -> dict[str, str]:
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def loopback(port: int) -> frozenset[str]:
    """What a browser of this machine may call the board.

    >>> sorted(loopback(80))[:2]
    ['127.0.0.1', '127.0.0.1:80']
    """
    names = ("127.0.0.1", "localhost", "[::1]")
    return frozenset([f"{name}:{port}" for name in names] + (list(names) if port == 80 else []))


def _plain(status: int, words: str) -> Answer:
    return Answer(body=f"{words}\n", kind="text/plain; charset=utf-8", status=status)


POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
        *("connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
    )
)
"""Scripts, style and pictures of the board alone: nothing inline, and nothing from anywhere else."""

ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
