"""The index of a store: the content of its small files, read once. A cache that checks each answer against its file.

Each answer is stored with the mark of its file, and counts only if the file has the same mark in a current listing. So
an index that is lost, damaged, old, or written by two processes changes no answer: what it cannot prove is read. A file
that changed within a moment of the index itself is not proven by its times, and read too. An index forged on purpose,
with the marks of the files as they are, does change what `ls` and `status` show; `verify` reads the files themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oneticket.ground.canon import dumps
from oneticket.ground.errors import StoreError
from oneticket.store import names
from oneticket.store.files import Files
from oneticket.store.mark import Mark

WORTH = 200
"""Answers read from files, from which on the index is written again."""

MOMENT = 2 * 10**9
"""Nanoseconds: more than the tick of any file system's clock."""


class Index:
    """The answers of one store as of one listing. Answers are JSON values, and never None."""

    def __init__(self, files: Files, marks: Mapping[str, Mark]) -> None:
        self.marks, self._files, self._new = marks, files, 0
        own = marks.get(names.INDEX)
        settled = own.when - MOMENT if own else 0
        said = _parsed(files.read([names.INDEX]).get(names.INDEX, b"")) if own else {}
        self._answers: dict[str, Any] = {
            name: answer
            for name, (proof, answer) in said.items()
            if (mark := marks.get(name)) and mark.proof == proof != "" and mark.when <= settled
        }

    def read(self, asked: Iterable[str], read: Callable[[list[str]], Mapping[str, Any]]) -> dict[str, Any]:
        """The answers of those files that give one; `read` is asked for what the index cannot prove."""
        asked = list(asked)
        new = read([name for name in asked if name not in self._answers])
        self._answers.update(new)
        self._new += sum(name in self.marks for name in new)
        return {name: self._answers[name] for name in asked if name in self._answers}

    def keep(self) -> None:
        """Write the index if that is worth it; a place that refuses keeps none."""
        marked = {name: (self.marks.get(name), said) for name, said in self._answers.items()}
        proven = {name: (mark.proof, said) for name, (mark, said) in marked.items() if mark and mark.proof}
        if self._new < WORTH or not proven:
            return
        body = dumps(proven).encode()
        with contextlib.suppress(StoreError):
            self._files.write({names.INDEX: _sum(body) + b"\n" + body})


def _parsed(data: bytes) -> dict[str, Any]:
    """The answers with their proofs; none of a file that is not as it was written."""
    summed, _, body = data.partition(b"\n")
    if not body or summed != _sum(body):
        return {}
    found: dict[str, Any] = json.loads(body)
    return found


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
