"""Claims: which process runs which step, so that no two do it at once, on one machine or on many.

A claim is a small file that its holder rewrites every few seconds. It is stale when its process has ended on this
machine, or when it did not change for a while by the watcher's own clock: clocks are never compared. With each beat it
reports how far its training is.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneticket.ground import canon, clock
from oneticket.ground.errors import StoreError
from oneticket.store import names
from oneticket.store.files import Files
from oneticket.store.provenance import host
from oneticket.store.under_way import UnderWay, under_way

BEAT, PATIENCE = 5.0, 60.0  # seconds between two beats, and without one until a claim is stale
EARLY = (1.0, 2.0)  # seconds to the first beats, if a training has something to report


@dataclass(kw_only=True)
class Claim:
    """A step that this process runs. `lost`: another process took it over, since no beat was seen for too long.

    `training`: called at every beat for what to report of the training, such as `training.curve.Curve.report`.
    """

    files: Files
    name: str
    owner: str = field(default_factory=lambda: secrets.token_hex(16))
    beats: int = 0
    lost: bool = False
    training: Callable[[], Mapping[str, object] | None] | None = None

    def content(self) -> bytes:
        """What the file holds now."""
        mine = {"host": host(), "machine": _machine(), "pid": os.getpid(), "owner": self.owner, "beat": self.beats}
        training = self.training() if self.training else None
        return canon.dumps({**mine, **({"training": training} if training else {})}).encode()

    def beat(self) -> None:
        """Show that its holder is active, unless another process has taken it over."""
        if self.still():
            self.beats += 1
            self.files.write({self.name: self.content()})

    def still(self) -> bool:
        """Look whether it is held; once lost, it stays so."""
        self.lost = self.lost or _parsed(self.files.read([self.name]).get(self.name)).get("owner") != self.owner
        return not self.lost


class Claims:
    """The claims of one store, as this process sees them; `beat` and `patience` in seconds."""

    def __init__(self, files: Files) -> None:
        self.files, self.beat, self.patience = files, BEAT, PATIENCE
        self._seen: dict[str, tuple[bytes, float]] = {}

    @contextlib.contextmanager
    def hold(
        self, key: str, training: Callable[[], Mapping[str, object] | None] | None = None
    ) -> Iterator[Claim | None]:
        """Hold the step while the block runs; None if another process runs it: ask again later."""
        claim = Claim(files=self.files, name=names.name(key, names.CLAIM), training=training)
        if not self._take(claim, names.name(key, names.HEIR)):
            yield None
            return
        over = threading.Event()
        beating = threading.Thread(target=self._beat, args=(claim, over), daemon=True, name=f"claim {key[:12]}")
        beating.start()
        try:
            yield claim
        finally:
            over.set()
            beating.join()
            with contextlib.suppress(StoreError):  # a claim that cannot be removed becomes stale
                if claim.still():
                    self.files.remove([claim.name])

    def holder(self, key: str) -> UnderWay | None:
        """Who runs the step; None if nobody does, as far as one look can show."""
        return self._holders([names.name(key, names.CLAIM)]).get(key)

    def holders(self) -> dict[str, UnderWay]:
        """Who is at what, by key."""
        return self._holders(self.files.sizes(names.UNDER_WAY))

    def active(self) -> set[str]:
        """The keys of steps that surely run; claims of other machines are watched until they beat or are stale."""
        now = first = self._standing(self.files.sizes(names.UNDER_WAY))
        here = {key for key, content in first.items() if _parsed(content).get("machine") == _machine()}
        until, pause = clock.now() + self.patience, threading.Event()
        while any(now.get(key) == content for key, content in first.items() if key not in here) and clock.now() < until:
            pause.wait(min(1.0, self.patience / 10))
            now = self._standing(self.files.sizes(names.UNDER_WAY))
        return {key for key, content in now.items() if key in here or first.get(key) != content}

    def _take(self, claim: Claim, heir: str) -> bool:
        """Create the claim, or take over a stale one; of several processes, only the one with the name `heir` may."""
        mine = claim.content()
        if self.files.create(claim.name, mine):
            return True
        there = self.files.read([claim.name]).get(claim.name)
        if there is None or not self._dead(claim.name, there):
            return False
        if not self.files.create(heir, mine):
            rival = self.files.read([heir]).get(heir)
            if rival is not None and self._dead(heir, rival):
                self.files.remove([heir])
            return False
        try:
            taken = self.files.read([claim.name]).get(claim.name) == there
            if taken:
                self.files.write({claim.name: mine})
        finally:
            self.files.remove([heir])
        return taken

    def _dead(self, name: str, content: bytes) -> bool:
        last, since = self._seen.get(name, (None, 0.0))
        if content != last:
            since = clock.now()
            self._seen[name] = (content, since)
        return _gone(content) or clock.now() - since >= self.patience

    def _beat(self, claim: Claim, over: threading.Event) -> None:
        early = [pause for pause in EARLY if pause < self.beat and claim.training]
        while not over.wait(early.pop(0) if early else self.beat):
            with contextlib.suppress(StoreError):  # the place may answer again before the others' patience ends
                claim.beat()

    def _standing(self, listed: Iterable[str]) -> dict[str, bytes]:
        """The claims among the listed names, by key, without those of ended processes."""
        asked = names.holding(names.CLAIM, listed)
        return {asked[name]: content for name, content in self.files.read(asked).items() if not _gone(content)}

    def _holders(self, listed: Iterable[str]) -> dict[str, UnderWay]:
        return {key: under_way(_parsed(content)) for key, content in self._standing(listed).items()}


def _parsed(content: bytes | None) -> dict[str, Any]:
    """The content of a claim; empty if it is missing, was cut short or is none."""
    try:
        read = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _gone(content: bytes) -> bool:
    """Whether a claim is by a process of this machine that is there no more."""
    held = _parsed(content)
    if os.name != "posix" or held.get("machine") != _machine():  # elsewhere, to ask for a process can end it
        return False
    try:
        os.kill(int(held["pid"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, KeyError, TypeError, ValueError, OverflowError):  # not ours, or no number of a process
        return False
    return False


@functools.cache
def _machine() -> str:
    """This machine since its start, and the namespace of its process numbers."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
