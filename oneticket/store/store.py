"""The store: outcomes by address, in a folder or under any URL (long: all that is asked of it stands in one class).

An outcome is there when its one file is.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from oneticket.ground import clock, note
from oneticket.ground.errors import StoreError, tell
from oneticket.store import definition, entry, names
from oneticket.store.claim import Claim, Claims
from oneticket.store.designs import Designs
from oneticket.store.entry import Head
from oneticket.store.files import Files, ReadOnly, files_at
from oneticket.store.index import Index
from oneticket.store.mark import Mark
from oneticket.store.plans import Plans
from oneticket.store.provenance import host, provenance
from oneticket.store.slot import StoreSlot
from oneticket.store.step import Outcome, Step
from oneticket.store.under_way import UnderWay

NOTE = "note of a store"
UNUSED = "it is not used; a run makes it anew"


class Store:
    """Outcomes of steps, and the files stored with them. Any number of processes and machines may share one.

    `url`: a folder, or anything that fsspec can open (`s3://bucket/prefix`); None keeps outcomes in memory, as long as
    this store is used. `store.location` opens the same store from anywhere; `store.url` is what to show of it, without
    a password. Nothing is read or written before it is asked for. Every method raises StoreError, in words, if the
    place refuses.

    Everything read is checked: every file is bound to its address and name, and holds a digest. A damaged file, or one
    of another address, counts as absent and is reported (KeptWarning) in one line with its path; if `read_only`, in
    `ignored` only.

    >>> store = Store("memory://example")
    >>> step = Step(kind="rewind", args={"seed": 0})
    >>> store.put(step, Outcome(record={"a": 1}, tensors={}), seconds=0.1, device="cpu")
    'kept'
    >>> store.get(step).record
    {'a': 1}
    """

    def __init__(self, url: str | os.PathLike[str] | None, *, read_only: bool = False) -> None:
        files = files_at(url)
        self.files: Files = ReadOnly(files) if read_only else files
        self.claims = Claims(self.files)
        self.designs, self.plans = Designs(self.files, self._tell), Plans(self.files, self._tell)
        self.url, self.location = self.files.url, self.files.location
        self._steps: dict[str, Step] = {}
        self._defined: set[str] | None = None
        self.ignored: dict[str, str] = {}
        self._index: Index | None = None

    @contextlib.contextmanager
    def indexed(self) -> Iterator[dict[str, int]]:
        """One listing, as `listed` gives it; within the block, the content of small files comes from the index.

        `definitions`, `provenances` and `there` then answer as of this listing. The index is updated at the end; it is
        a cache, and changes no answer.
        """
        marks = self._marks()
        self._index = Index(self.files, marks)
        try:
            yield {name: mark.size for name, mark in marks.items()}
            self._index.keep()
        finally:
            self._index = None

    def listed(self) -> dict[str, int]:
        """Name -> size of all files; outcomes of another format among them are reported once."""
        return {name: mark.size for name, mark in self._marks().items()}

    def _marks(self) -> Mapping[str, Mark]:
        if self._index is not None:
            return self._index.marks
        found = self.files.marks()
        for version, count in sorted(Counter(names.others(found).values()).items()):
            self._tell("", f"files of format {version} ({count}), {_OTHER[version > note.FORMAT]}", "")
        return found

    def keys(self) -> set[str]:
        """The addresses of all outcomes that are there, from one listing."""
        return set(names.holding(names.OUTCOME, (name for name, size in self.listed().items() if size)).values())

    def has(self, step: Step) -> bool:
        """Whether the step's outcome is there, of the stated length and with an intact head; else it is done again."""
        return self._whole(step.key) is not None

    def there(self, keys: Iterable[str]) -> set[str]:
        """Those of these addresses whose outcomes are there, as for `has`, many checked at once."""
        if self._index is None:
            return set(self._wholes(keys))
        asked = {names.name(key, names.OUTCOME): key for key in keys}

        def look(some: Iterable[str]) -> dict[str, bool]:
            wholes = self._wholes([asked[name] for name in some])
            return {name: True for name in some if asked[name] in wholes}

        return {asked[name] for name in self._index.read(asked, look)}

    def find(self, step: Step) -> Outcome | None:
        """Read an outcome back, every bit of it checked; None if it is missing, or damaged and so set aside."""
        data = self._read(step.key, names.OUTCOME)
        if data is None:
            return None
        try:
            return entry.decode(step.key, data)
        except StoreError as error:
            self.discard(step.key, error)
        return None

    def get(self, step: Step) -> Outcome:
        """What `find` gives; StoreError if that is nothing."""
        found = self.find(step)
        if found is None:
            raise StoreError(f"the store {self.url} has no outcome of step {step.key}; run the command that makes it")
        return found

    def record(self, step: Step) -> Mapping[str, Any]:
        """The outcome's record alone, read without its tensors; its digest, which is checked, is over both."""
        found = self._whole(step.key)
        if found is None:
            raise StoreError(
                f"the store {self.url} has no complete outcome of step {step.key}; run the command that makes it"
            )
        return found.record

    def records(self, steps: Iterable[Step]) -> dict[str, Mapping[str, Any]]:
        """The records of those steps that are there, by key, many read at once."""
        return {key: head.record for key, head in self._wholes(step.key for step in steps).items()}

    def heads(self, keys: Iterable[str]) -> dict[str, Head]:
        """The heads of the entries at these addresses; missing or damaged ones are left out."""
        asked = {names.name(key, names.OUTCOME): key for key in keys}
        begun = self.files.read(asked, end=entry.GUESS)
        longer = {name: length for name, start in begun.items() if (length := entry.length(start)) > entry.GUESS}
        begun |= self.files.read(longer, end=max(longer.values(), default=0))
        found = {}
        for name, start in begun.items():
            try:
                found[asked[name]] = entry.head(asked[name], start)
            except StoreError as error:
                self._tell(name, error, UNUSED)
        return found

    def put(self, step: Step, outcome: Outcome, *, seconds: float, device: str, how: str = "") -> str:
        """Store an outcome, its provenance first; nothing is half-written if the place refuses.

        Returns "kept", "there already" if another process stored the same meanwhile, or "drifted" if it stored another
        outcome: that one stays, and the difference is recorded with it.
        """
        data = entry.encode(step.key, outcome)
        digest = entry.head(step.key, data).digest
        about = provenance(seconds=seconds, device=device, how=how)
        there = self._whole(step.key)
        if there is None:
            self._write(step.key, names.PROVENANCE, about)
            self.files.write({names.name(step.key, names.OUTCOME): data})
            said = "kept"
        elif there.digest == digest:
            said = "there already"
        else:
            drifted = {"digest": digest, "record": dict(outcome.record), "provenance": about}
            self._write(step.key, f"{names.DRIFT}{digest[:16]}.json", drifted)
            said = "drifted"
        with contextlib.suppress(StoreError):  # what is left over does no harm
            claim = names.name(step.key, names.CLAIM)
            self.files.remove(n for n in self.files.sizes(names.UNDER_WAY) if step.key in n and n != claim)
        return said

    def provenance(self, step: Step) -> Mapping[str, Any]:
        """When, where and how long the step ran; empty if that was lost."""
        return self.provenances([step.key]).get(step.key, {})

    def provenances(self, keys: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """The provenance of the outcomes at these addresses, many read at once; what was lost is left out."""
        return self._noted({names.name(key, names.PROVENANCE): key for key in keys})

    def drifts(self) -> dict[str, list[Mapping[str, Any]]]:
        """The outcomes that came out differently a second time: digest, record and provenance of each, by key."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for name, key in sorted(names.holding(names.DRIFT, self.files.sizes()).items()):
            found.setdefault(key, []).extend(self._noted({name: key}).values())
        return found

    def define(self, *steps: Step) -> None:
        """Write the definitions of these steps and all their needs, so that `step` finds them by address, anywhere.

        Existing ones are checked once, and written again if damaged.
        """
        if self._defined is None:
            self._defined = set(names.holding(names.DEFINITION, self.listed()).values())
        new, waiting = dict[str, Step](), list(steps)
        while waiting:
            step = waiting.pop()
            if step.key not in new and step.key not in self._steps:
                new[step.key] = step
                waiting += step.needs
        there = self.definitions(self._defined & new.keys())
        lacking = {key: step for key, step in new.items() if key not in there}
        self.files.write({names.name(key, names.DEFINITION): definition.encode(step) for key, step in lacking.items()})
        self._defined |= lacking.keys()
        self._steps |= new

    def step(self, key: str) -> Step:
        """The step at an address, as it was defined; StoreError if it was not, or not as this version does it."""
        if key not in self._steps:
            name = names.name(key, names.DEFINITION)
            data = self._read(key, names.DEFINITION)
            if data is None:
                raise StoreError(f"the store {self.url} has no definition of step {key}; run the study that plans it")
            try:
                self._steps[key] = definition.decode(data, key, self.step)
            except ValueError as error:
                raise StoreError(f"{self.url}/{name}: {error}; run the study that plans it") from error
        return self._steps[key]

    def definitions(self, keys: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Kind, version, arguments and needs of the steps at these addresses, many read at once.

        Those not there are left out, and those whose digest is not the address.
        """
        asked = {names.name(key, names.DEFINITION): key for key in keys}
        said = self._said(asked, lambda data, name: definition.parse(data, asked[name]), UNUSED)
        return {asked[name]: value for name, value in said.items()}

    def claim(
        self, step: Step, training: Callable[[], Mapping[str, object] | None] | None = None
    ) -> AbstractContextManager[Claim | None]:
        """Hold a step while a block runs, so that no other process does it; gives None if another one runs it now.

        `training`: called now and then for what to report of the training, such as `training.curve.Curve.report`.
        """
        return self.claims.hold(step.key, training)

    def holder(self, step: Step) -> UnderWay | None:
        """Who runs the step, such as `host, process 123`; None if nobody does. `claims.holders()` gives all."""
        return self.claims.holder(step.key)

    def slot(self, step: Step) -> StoreSlot:
        """Where a step under way keeps its checkpoint."""
        return StoreSlot(store=self, key=step.key)

    def note_failure(self, step: Step, text: str) -> None:
        """Remember why a step failed, until it is done."""
        self._write(step.key, names.FAILURE, {"text": text, "date": clock.date(), "host": host()})

    def failure(self, step: Step) -> str | None:
        """Why the step failed at its last try; None if it did not. `failures()` gives all."""
        found = self._noted({names.name(step.key, names.FAILURE): step.key})
        return str(found[step.key].get("text")) if found else None

    def failures(self) -> dict[str, str]:
        """Why steps failed, by key."""
        found = self._noted(names.holding(names.FAILURE, self.files.sizes(names.UNDER_WAY)))
        return {key: str(said.get("text")) for key, said in found.items()}

    def discard(self, key: str, why: object) -> None:
        """Set the outcome at an address aside, so that it is made again, and report why."""
        self.set_aside(names.name(key, names.OUTCOME), why)

    def set_aside(self, name: str, why: object) -> None:
        """Rename a damaged file, so that it is not read again, and report it; if the place refuses, it stays."""
        with contextlib.suppress(StoreError):
            self.files.move(name, f"{name}.{names.DAMAGED}")
        self._tell(name, why, "it is set aside; a run makes it anew")

    def _wholes(self, keys: Iterable[str]) -> dict[str, Head]:
        """The heads of those entries whose files have the stated length, from one listing."""
        sizes = self.listed()
        listed = {key: sizes[name] for key in keys if (name := names.name(key, names.OUTCOME)) in sizes}
        heads = self.heads(listed)
        # Another length than listed: stored again since then, or cut short.
        return {key: head for key, head in heads.items() if head.size == listed[key] or self._long(key, head)}

    def _whole(self, key: str) -> Head | None:
        """The entry's head, if its file has the stated length."""
        found = self.heads([key]).get(key)
        return found if found and self._long(key, found) else None

    def _long(self, key: str, head: Head) -> bool:
        """Whether an entry has the length in its head."""
        name = names.name(key, names.OUTCOME)
        size = self.files.size(name)
        if size is not None and size != head.size:
            self._tell(name, f"it is cut short or overlong: {size:,} bytes, its head says {head.size:,}", UNUSED)
        return size == head.size

    def _read(self, key: str, what: str) -> bytes | None:
        name = names.name(key, what)
        return self.files.read([name]).get(name)

    def _write(self, key: str, what: str, value: Mapping[str, Any]) -> None:
        name = names.name(key, what)
        self.files.write({name: note.write(NOTE, name, value).encode()})

    def _noted(self, asked: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        """The content of these notes, by key; missing or damaged ones are left out."""
        said = self._said(asked, _mapping, "it is not used")
        return {asked[name]: value for name, value in said.items()}

    def _said(self, asked: Iterable[str], parse: Callable[[bytes, str], Any], then: str) -> dict[str, Any]:
        """The content of these files, by name; `parse` raises for a damaged one, which is reported."""

        def read(some: Iterable[str]) -> dict[str, Any]:
            found = {}
            for name, data in self.files.read(some).items():
                try:
                    found[name] = parse(data, name)
                except (StoreError, ValueError) as error:
                    self._tell(name, error, then)
            return found

        return self._index.read(asked, read) if self._index else read(asked)

    def _tell(self, name: str, why: object, then: str) -> None:
        """Report once which file is not used."""
        if (about := name or str(why)) not in self.ignored:
            self.ignored[about] = str(why)
            if not isinstance(self.files, ReadOnly):
                tell(f"{self.url}/{name}" if name else self.url, why, then)


def _mapping(data: bytes, name: str) -> Mapping[str, Any]:
    """The value of a note of a store, which is a mapping; raises StoreError for any other."""
    value = note.read(data, NOTE, name)
    if not isinstance(value, Mapping):
        raise StoreError("it is damaged: its value is no mapping")
    return value


_OTHER = (
    "written by an earlier version and bound to no address, are not used: what is asked for is made anew; "
    "`oneticket store gc` removes them",
    "written by a newer version, are not read by this one: upgrade, or choose another --store",
)
