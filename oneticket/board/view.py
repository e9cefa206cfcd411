"""The view of a store: what lies in it, as it was last looked at. It writes nothing, holds nothing, repairs nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oneticket.ground import clock
from oneticket.ground.errors import StoreError
from oneticket.store import names
from oneticket.store.mark import Mark
from oneticket.store.plans import KeptPlan, holds
from oneticket.store.store import Store
from oneticket.store.under_way import UnderWay

SOON, SHARE = 0.9, 0.05
"""Seconds between two looks at least, and the largest part of the time that is spent on looking."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A store at one moment. `number` changes whenever anything but the running steps has changed.

    `outcomes`: address -> mark. `defined`: addresses of steps with definitions. `failures`: why steps failed.
    `under_way`: who runs which step. `plans`: the steps that studies ask for. `aside`: damaged files, set aside before.
    `formats`: files of other formats. `there`: whether the store exists; `error`: why it cannot be read.
    """

    number: int = 0
    outcomes: Mapping[str, Mark] = field(default_factory=dict)
    defined: frozenset[str] = frozenset()
    failures: Mapping[str, str] = field(default_factory=dict)
    under_way: Mapping[str, UnderWay] = field(default_factory=dict)
    plans: Sequence[KeptPlan] = ()
    aside: Sequence[str] = ()
    formats: Mapping[int, int] = field(default_factory=dict)
    there: bool = True
    error: str = ""

    def state(self, key: str) -> str:
        """What is known of a step: one of STATES."""
        if key in self.outcomes:
            return "done"
        if key in self.under_way:
            return "under way"
        return "failed" if key in self.failures else "to do"


STATES = ("done", "under way", "failed", "to do")


class StoreView:
    """Looks at a store on request, but rarely enough not to slow a running study.

    In a local folder only changes since the last look are listed again; on remote storage everything is.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._seen = Seen(number=-1)
        self._due = 0.0
        self._rooms: dict[str, _Room] = {}
        self._failed: Mapping[str, Mark] = {}

    def look(self) -> Seen:
        """The store now, or as it was a moment ago."""
        with self._lock:
            if clock.now() >= self._due:
                began = clock.now()
                try:
                    self._seen = self._look()
                except StoreError as error:
                    self._seen = replace(self._seen, error=str(error))
                self._due = clock.now() + max(SOON, (clock.now() - began) / SHARE)
            return self._seen

    def _look(self) -> Seen:
        before, listed, seen = self._rooms, self._list(), self._seen
        rooms = {folder: room for folder, room in listed.items() if folder != names.UNDER_WAY}
        now = listed.get(names.UNDER_WAY)
        failed = {name: now.files[name] for name in names.holding(names.FAILURE, now.files)} if now else {}
        if any(before.get(folder) is not room for folder, room in listed.items()) or before.keys() - listed.keys():
            self._forget_ignored(before, listed)
        gone = before.keys() - rooms.keys() - {names.UNDER_WAY}
        if seen.number < 0 or gone or any(before.get(folder) is not room for folder, room in rooms.items()):
            seen = self._gathered(rooms)
        if failed != self._failed:
            seen = replace(seen, number=seen.number + 1, failures=self.store.failures() if failed else {})
        there = bool(listed) or ("://" not in self.store.url and Path(self.store.url).is_dir())
        seen = replace(seen, there=there, error="", under_way=self.store.claims.holders() if now else {})
        self._rooms, self._failed = listed, failed  # only now: what could not be read is read again at the next look
        return seen

    def _forget_ignored(self, before: Mapping[str, _Room], now: Mapping[str, _Room]) -> None:
        """Forget why a damaged file was ignored that is gone, or another one by now."""
        for name in list(self.store.ignored):
            mark = _mark(now, name)
            if mark != _mark(before, name) or (mark is None and "/" in name):
                self.store.ignored.pop(name, None)

    def _list(self) -> dict[str, _Room]:
        """The files of each folder; the same objects where nothing changed."""
        stamps = self.store.files.stamps()
        if stamps is None:
            folders: dict[str, dict[str, Mark]] = {}
            for name, mark in self.store.files.marks().items():
                folders.setdefault(name.rpartition("/")[0], {})[name] = mark
            return {folder: self._room(folder, files) for folder, files in folders.items()}
        rooms = {}
        for folder, stamp in stamps.items():
            if folder == "." or ("/" not in folder and folder.startswith("format-")):  # what holds rooms is none
                continue
            room = self._rooms.get(folder)
            if room is None or room.stamp != stamp or not room.settled:
                # Once more after a change: another within the same tick of the clock would not show.
                settled = room is not None and room.stamp == stamp
                room = self._room(folder, self.store.files.marks(folder), stamp=stamp, settled=settled)
            rooms[folder] = room
        return rooms

    def _room(self, folder: str, files: Mapping[str, Mark], *, stamp: int = 0, settled: bool = False) -> _Room:
        before = self._rooms.get(folder)
        if before is not None and before.files == files:
            before.stamp, before.settled = stamp, settled
            return before
        return _Room(files, stamp=stamp, settled=settled)

    def _gathered(self, rooms: Mapping[str, _Room]) -> Seen:
        formats = sum((room.formats for room in rooms.values()), Counter[int]())
        return replace(
            self._seen,
            number=self._seen.number + 1,
            outcomes={key: mark for room in rooms.values() for key, mark in room.outcomes.items()},
            defined=frozenset().union(*(room.defined for room in rooms.values())),
            plans=self.store.plans.read(name for room in rooms.values() for name in room.plans),
            aside=[name for room in rooms.values() for name in room.aside],
            formats=dict(sorted(formats.items())),
        )


def _mark(rooms: Mapping[str, _Room], name: str) -> Mark | None:
    room = rooms.get(name.rpartition("/")[0])
    return room.files.get(name) if room else None


class _Room:
    """A folder of a store and its files. `settled`: it was listed after its time stamp had been seen before."""

    def __init__(self, files: Mapping[str, Mark], *, stamp: int, settled: bool) -> None:
        self.files, self.stamp, self.settled = files, stamp, settled
        self.outcomes = {
            key: files[name] for name, key in names.holding(names.OUTCOME, files).items() if files[name].size
        }
        self.defined = set(names.holding(names.DEFINITION, files).values())
        self.plans = [name for name in files if holds(name)]
        self.aside = sorted(name for name in files if name.endswith(f".{names.DAMAGED}"))
        self.formats = Counter(names.others(files).values())
