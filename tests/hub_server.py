"""A Hub on this machine: the part of the Hugging Face Hub's HTTP API that its own client uses, over real sockets.

Repositories are kept in memory, commit by commit. About one whose name is in `LIES` the server lies, in that way.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Repo:
    """Commits, oldest first, and the commit of each branch."""

    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Files) -> str:
        tree = {**self.commits.get(self.refs.get(branch, ""), {}), **files}
        sha = hashlib.sha1(repr((len(self.commits), sorted(tree.items()))).encode()).hexdigest()
        self.commits[sha], self.refs[branch] = tree, sha
        return sha

    def at(self, revision: str) -> tuple[str, Files] | None:
        sha = self.refs.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


@dataclass
class Hub:
    """The server: `with Hub() as hub`, then `hub.url`.

    `log` holds method and path of each request; `lfs`: files go the way of large ones; `closed`: commits are refused;
    `busy`: how many lists are refused before the first is given; `sent`: bytes of endless bodies.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    collections: dict[str, list[str]] = field(default_factory=dict)
    objects: Files = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    closed: bool = False
    busy: int = 0
    lfs: bool = False
    sent: int = 0

    def __enter__(self) -> Hub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, repo: str, files: Files, branch: str = "main") -> str:
        return self.repos.setdefault(repo, Repo()).commit(branch, files)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = self._begin()
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path):
            self._resolve(found[1], unquote(found[2]), unquote(found[3]))
        elif found := re.fullmatch(r"/elsewhere/(.+)", url.path):
            self._send(200, self.hub.objects[found[1]])
        elif url.path == "/api/models" and self.hub.busy:
            self.hub.busy -= 1
            self._fail(503, "", "too many of you")
        elif url.path == "/api/models":
            author, tag = (parse_qs(url.query).get(name, [""])[0] for name in ("author", "filter"))
            named = [repo for repo in self.hub.repos if repo.startswith(f"{author}/")]
            self._json([{"id": repo, "modelId": repo, "tags": [tag], "private": False} for repo in named])
        elif (found := re.fullmatch(r"/api/collections/(.+)", url.path)) and found[1] in self.hub.collections:
            self._json(self._collection(found[1]))
        elif (found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", url.path)) and found[
            1
        ] in self.hub.repos:
            sha = self.hub.repos[found[1]].refs["main"]
            self._json({"id": found[1], "sha": sha, "siblings": [], "tags": [], "private": False})
        else:
            self._fail(404, "RepoNotFound", "nothing here")

    def do_POST(self) -> None:
        url = self._begin()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path == "/api/repos/create":
            self._create(json.loads(body))
        elif url.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", url.path):
            mode = "lfs" if self.hub.lfs else "regular"
            files = [
                {
                    "path": f["path"],
                    "uploadMode": mode if f["path"] != "README.md" else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", url.path):
            repo, branch = self.hub.repos[found[1]], unquote(found[2])
            if branch in repo.refs:
                self._fail(409, "", "Reference already exists")
            else:
                repo.refs[branch] = repo.refs["main"]
                self._json({})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", url.path):
            self._json({"transfer": "basic", "objects": [self._upload(one) for one in json.loads(body)["objects"]]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", url.path):
            self._commit(found[1], unquote(found[2]), [json.loads(line) for line in body.splitlines()])
        else:
            self._fail(404, "RepoNotFound", "nothing here")

    def do_PUT(self) -> None:
        url = self._begin()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.objects[url.path.rpartition("/")[2]] = data
        self._json({})

    def _begin(self) -> Any:
        self.hub.log.append(f"{self.command} {self.path}")
        return urlsplit(self.path)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if self.headers.get("Authorization") is None:
            self._fail(401, "", "Invalid username or password.")
        elif name in self.hub.repos:
            self._json({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
        else:
            self.hub.repos[name] = Repo(private=asked.get("visibility") == "private" or bool(asked.get("private")))
            self.hub.put(name, {".gitattributes": b""})
            self._json({"url": f"{self.hub.url}/{name}"})

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        there = {"href": f"{self.hub.url}/upload/{one['oid']}", "header": {}}
        return {"oid": one["oid"], "size": one["size"], "actions": {"upload": there}}

    def _commit(self, name: str, branch: str, lines: list[dict[str, Any]]) -> None:
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        for line in lines:
            if line["key"] == "lfsFile":
                files[line["value"]["path"]] = self.hub.objects[line["value"]["oid"]]
        if self.hub.closed:
            self._fail(403, "", "You have no write access")
            return
        sha = self.hub.put(name, files, branch)
        self._json({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}"})

    def _collection(self, slug: str) -> dict[str, Any]:
        items = [
            {"_id": str(n), "type": "model", "id": repo, "position": n}
            for n, repo in enumerate(self.hub.collections[slug])
        ]
        who = {"name": slug.partition("/")[0], "type": "user"}
        facts = {
            "title": slug,
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "private": False,
            "theme": "blue",
            "upvotes": 0,
        }
        return {"slug": slug, "owner": who, "items": items, "position": 0, **facts}

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.headers.get("Authorization") is None):
            self._fail(401, "RepoNotFound", "Repository not found")
        elif (found := repo.at(revision)) is None:
            self._fail(404, "RevisionNotFound", "Revision not found")
        elif path not in found[1]:
            self._fail(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": found[0]})
        else:
            data = found[1][path]
            marks = {"X-Repo-Commit": found[0], "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
            LIES.get(name.rpartition("/")[2], _truth)(self, data, marks)

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None, size: int | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data) if size is None else size), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str, words: str, headers: dict[str, str] | None = None) -> None:
        extra = {"X-Error-Message": words, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self._send(status, json.dumps({"error": words}).encode(), {"Content-Type": "application/json", **extra})

    def endless(self, marks: dict[str, str]) -> None:
        """A body in chunks without an end; it stops when the client hangs up, or after 200 MB."""
        self.send_response(200)
        for key, value in {"Transfer-Encoding": "chunked", **marks}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            while self.hub.sent < 200 * 2**20:
                self.wfile.write(chunk)
                self.hub.sent += 65536
        except OSError:
            pass
        self.close_connection = True


def _truth(handler: Any, data: bytes, marks: dict[str, str]) -> None:
    handler._send(200, data, marks)


def _endless(handler: Any, data: bytes, marks: dict[str, str]) -> None:
    _truth(handler, data, marks) if handler.command == "HEAD" else handler.endless(marks)


def _elsewhere(handler: Any, data: bytes, marks: dict[str, str]) -> None:
    handler.hub.objects["data"] = data
    there = {"Location": f"http://localhost:{handler.hub.url.rpartition(':')[2]}/elsewhere/data"}
    handler._send(302, b"", {**marks, **there, "X-Linked-Size": str(len(data)), "X-Linked-ETag": marks["ETag"]})


def _shorter(handler: Any, data: bytes, marks: dict[str, str]) -> None:
    _truth(handler, data if handler.command == "HEAD" else data[:-9], marks)


LIES = {
    "size-huge": lambda handler, data, marks: handler._send(200, b"", marks, size=2**50),
    "size-none": lambda handler, data, marks: handler.endless(marks),
    "etag-leaves": lambda handler, data, marks: _truth(handler, data, {**marks, "ETag": '"../../../../evil"'}),
    "commit-leaves": lambda handler, data, marks: _truth(handler, data, {**marks, "X-Repo-Commit": "../../evil"}),
    "endless": _endless,
    "shorter": _shorter,
    "elsewhere": _elsewhere,
    "broken": lambda handler, data, marks: handler._fail(503, "", "out of order"),
    "throttled": lambda handler, data, marks: handler._fail(429, "", "too many requests"),
    "forbidden": lambda handler, data, marks: handler._fail(403, "", "no access"),
    "gated": lambda handler, data, marks: handler._fail(403, "GatedRepo", "ask for access"),
}
