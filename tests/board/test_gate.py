"""Who may ask: this machine's browser alone, by its own name, and only to look."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boards import Reply, Served
from waiting import until

from oneticket.board import serve as board_serve
from oneticket.board.serve import PortError, listening, port_of
from oneticket.ground.errors import SpecError
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store


@pytest.fixture
def served(tmp_path: Path, serve: Callable[..., Any]) -> Iterator[Served]:
    (tmp_path / "secret.txt").write_text("a secret")
    step = Step(kind="rewind", args={"seed": 0})
    store = Store(tmp_path / "store")
    store.define(step)
    store.put(step, Outcome(record={"step": 2}, tensors={}), seconds=1.0, device="cpu")
    with serve(tmp_path / "store") as running:
        yield running


def test_it_answers_by_its_own_names(served: Served) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert served.get("/", host=f"{name}:{served.port}").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1:{port}.evil.example",
        "127.0.0.1.nip.io:{port}",
        "localhost.evil.example:{port}",
        "evil.example@127.0.0.1:{port}",
        "127.0.0.1:{port},evil.example",
        "127.1:{port}",
        "0.0.0.0:{port}",
        "[::ffff:127.0.0.1]:{port}",
    ],
)
def test_a_foreign_host_is_refused_whatever_it_asks_for(served: Served, host: str) -> None:
    for path in ("/", "/board.js", "/outcomes"):
        reply = served.get(path, host=host.format(port=served.port))
        assert reply.status in (400, 403), host
        assert "outcomes (" not in reply.text and "look" not in reply.text


def test_two_hosts_are_refused(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        own = f"Host: 127.0.0.1:{served.port}"
        line.sendall(f"GET / HTTP/1.1\r\n{own}\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        first = line.recv(4096).split(b"\r\n")[0]
    assert first.split()[1] in (b"400", b"403")


def test_no_other_page_may_ask(served: Served) -> None:
    assert served.get("/", origin="http://evil.example").status == 403
    assert served.get("/", origin="null").status == 403
    assert served.get("/", origin=f"http://127.0.0.1:{served.port}").status == 200
    assert served.get("/board.js", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status == 403
    assert served.get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200
    assert served.get("/board.js", sec_fetch_site="same-site", sec_fetch_mode="no-cors").status == 403
    assert served.get("/board.js", sec_fetch_site="same-origin", sec_fetch_mode="no-cors").status == 200


def test_it_can_only_be_looked_at(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        reply = served.get("/", method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD"), method
    head, whole = served.get("/", method="HEAD"), served.get("/")
    assert (head.status, head.text) == (200, "")
    assert head.headers["content-length"] == str(len(whole.text.encode()))


def test_every_answer_forbids_what_is_not_its_own(served: Served) -> None:
    for path in ("/", "/board.js", "/board.css", "/nothing", "/steps/0"):
        headers = served.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control")]
        assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/steps/..%2f..%2fsecret.txt",
        "/steps/%2e%2e",
        "/board.css/../../secret.txt",
        "/studies/..%2f..%2fsecret.txt",
        "/studies/%00",
        "/studies/demo/figures/..%2f0/0",
        "/studies/none/figures/0/0",
        f"/steps/{'0' * 64}",
        f"/steps/{'A' * 64}",
        f"/steps/{'0' * 64}%0a",
        f"/steps/{'0' * 63}",
        "/%ff%fe",
    ],
)
def test_an_address_is_looked_up_and_is_no_path(served: Served, path: str) -> None:
    reply = served.get(path)
    assert reply.status == 404
    assert "a secret" not in reply.text


def test_what_is_too_long_or_no_request_is_refused(served: Served) -> None:
    assert served.get("/" + "a" * 3000).status == 414
    assert served.get("/outcomes?q=" + "a" * 3000).status == 414
    assert served.get("/outcomes?kind=none").status == 400
    assert served.get("/outcomes?page=99999999999999999999").status == 200
    assert served.get("/outcomes?page=-1&q=%ff%00").status == 200


def test_what_is_no_path_is_refused(served: Served) -> None:
    for target in ("*", "outcomes", f"http://127.0.0.1:{served.port}/", "http://evil.example/"):
        assert served.get(target).status == 400, target


def test_connections_that_ask_nothing_do_not_keep_others_out(
    tmp_path: Path, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_serve, "SILENT", 0.05)
    with serve(tmp_path) as running, contextlib.ExitStack() as lines:
        for number in range(120):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            line.sendall(b"GET" if number % 2 else b"")  # says nothing, or begins and does not end
        assert line.recv(100) == b""
        until(lambda: running.get("/").status == 200, "an answer")


def test_what_is_unchanged_is_not_sent_again(served: Served) -> None:
    served.read()
    first = served.get("/outcomes")
    again: Reply = served.get("/outcomes", if_none_match=first.headers["etag"])
    assert (again.status, again.text) == (304, "")


def test_a_port_that_is_taken_is_told(served: Served) -> None:
    with pytest.raises(PortError, match=f"port {served.port} on 127.0.0.1 cannot be had: .*; another board may be"):
        listening(served.port)
    with pytest.raises(SpecError, match="--port: expected 0 to 65535, got 70000"):
        listening(70_000)


def test_it_listens_on_loopback_alone() -> None:
    sockets = listening(0)
    try:
        assert [each.getsockname()[0] for each in sockets] == ["127.0.0.1"]
    finally:
        sockets[0].close()


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python knows no IPv6")
def test_ipv6_if_asked() -> None:
    try:
        sockets = listening(0, ipv6=True)
    except PortError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    try:
        assert {each.getsockname()[0] for each in sockets} == {"127.0.0.1", "::1"}
        assert len({port_of([each]) for each in sockets}) == 1
    finally:
        for each in sockets:
            each.close()
