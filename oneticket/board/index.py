"""The index of a store: what each outcome is and how well it did, read once each, in the background."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oneticket.board.view import Seen, StoreView
from oneticket.ground import clock
from oneticket.ground.errors import OneticketError
from oneticket.ground.metric import Metric, score_of
from oneticket.stats.words import percent
from oneticket.store import names
from oneticket.store.mark import Mark
from oneticket.store.step import Step
from oneticket.study.described import described
from oneticket.study.steps import ConsensusStep, FileStep, TransferStep, read_step
from oneticket.ticket.names import natural

BATCH, PAUSE = 100, 1.0  # outcomes read at once, and seconds between two looks for new ones
LATER = 30.0  # seconds until what could not be read is tried again


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An outcome in a line. `source`: where a ticket was found that it trains. `trouble`: why it cannot be used."""

    key: str
    kind: str
    what: str
    size: int
    source: str = ""
    score: str = ""
    density: str = ""
    trouble: str = ""


class Index:
    """Entries by address. A thread reads what is new, at most half of the time, from `start` to `stop`."""

    def __init__(self, view: StoreView) -> None:
        self._view, self._over = view, threading.Event()
        self._entries: dict[str, Entry] = {}
        self._marks: dict[str, Mark] = {}
        self._again: dict[str, float] = {}
        self._count = 0
        self._sorted: tuple[tuple[int, int], list[Entry]] = ((-1, -1), [])
        self._words: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, daemon=True, name="board index")

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until that has come about, but not for a place that does not answer."""
        self._over.set()
        self._thread.join(LATER)

    def entries(self, seen: Seen) -> list[Entry]:
        """Those of the outcomes that were read so far, by what they are."""
        state, (known, found) = (seen.number, self._count), self._sorted
        if state != known:  # thousands of entries are put in order when there are others, not for each page
            entries = [entry for entry in list(self._entries.values()) if entry.key in seen.outcomes]
            found = sorted(entries, key=lambda entry: (entry.kind, natural(entry.what), entry.source, entry.key))
            self._sorted = (state, found)
        return found

    def kinds(self, seen: Seen) -> dict[str, int]:
        """How many of those that were read are of each kind."""
        return Counter(entry.kind for entry in list(self._entries.values()) if entry.key in seen.outcomes)

    def troubles(self, seen: Seen) -> dict[str, str]:
        """Outcomes that cannot be used, and why."""
        return {
            key: entry.trouble for key, entry in list(self._entries.items()) if entry.trouble and key in seen.outcomes
        }

    def words(self, keys: Iterable[str]) -> dict[str, str]:
        """What steps are, in a few words; read at once where that is not known yet."""
        keys = list(keys)
        lacking = [key for key in keys if key not in self._words]
        definitions = self._view.store.definitions(lacking) if lacking else {}
        self._words |= {key: described(defined) for key, defined in definitions.items()}
        return {key: self._words.get(key, described(None)) for key in keys}

    def read(self, seen: Seen, keys: Sequence[str]) -> None:
        """Read these outcomes now."""
        store = self._view.store
        heads, definitions = store.heads(keys), store.definitions(keys)
        sources = self._found_on(definitions)
        self._words |= {key: described(defined) for key, defined in definitions.items()}
        for key in keys:
            size, defined, head = seen.outcomes[key].size, definitions.get(key), heads.get(key)
            about: dict[str, Any] = {"key": key, "size": size, "what": self._words.get(key, described(defined))}
            about |= {"kind": str(defined["kind"]) if defined else "unknown", "source": sources.get(key, "")}
            if head is None:
                trouble = store.ignored.get(names.name(key, names.OUTCOME), "it cannot be read")
                self._entries[key] = Entry(**about, trouble=trouble)
            elif head.size != size:
                trouble = f"it is cut short or overlong: {size:,} bytes, its head says {head.size:,}"
                self._entries[key] = Entry(**about, trouble=trouble)
            else:
                self._entries[key] = replace(Entry(**about), **_fields(head.record))  # type: ignore[arg-type]
            self._marks[key] = seen.outcomes[key]
        self._count += 1

    def _found_on(self, definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Where the tickets of transfers were found, by the first step that they need."""
        needs = {key: defined["needs"][0] for key, defined in definitions.items() if defined["needs"]}
        needs = {key: need for key, need in needs.items() if definitions[key]["kind"] == TransferStep.kind}
        lacking = set(needs.values()) - self._sources.keys()
        for key, defined in self._view.store.definitions(lacking).items() if lacking else ():
            self._sources[key] = _place(defined)
        return {key: self._sources.get(need, "") for key, need in needs.items()}

    def lacking(self, seen: Seen) -> list[str]:
        """The outcomes that were not read yet, or were replaced since."""
        marks = self._marks
        return [key for key, mark in seen.outcomes.items() if marks.get(key) != mark]

    def _run(self) -> None:
        rest = 0.0
        while not self._over.wait(rest):
            began = clock.now()
            try:
                seen = self._view.look()
                lacking = self.lacking(seen) or self._to_try_again(seen)
                self._read_all(seen, lacking[:BATCH])
                rest = clock.now() - began if len(lacking) > BATCH else PAUSE
            except Exception:  # the store cannot be read now; the pages show that
                rest = PAUSE

    def _read_all(self, seen: Seen, keys: Sequence[str]) -> None:
        """Read these outcomes; one that cannot be read keeps no other from it."""
        try:
            self.read(seen, keys)
        except Exception:
            for key in keys:
                self._read_alone(seen, key)

    def _read_alone(self, seen: Seen, key: str) -> None:
        try:
            self.read(seen, [key])
        except Exception as error:
            mark, why = seen.outcomes[key], f"it cannot be read: {error}"
            self._entries[key] = Entry(key=key, kind="unknown", what=described(None), size=mark.size, trouble=why)
            self._marks[key], self._again[key] = mark, clock.now() + LATER
            self._count += 1

    def _to_try_again(self, seen: Seen) -> list[str]:
        """The outcomes that the place refused a while ago."""
        due = [key for key, at in self._again.items() if at < clock.now()]
        return [key for key in due if self._again.pop(key) and key in seen.outcomes]


def _fields(record: Mapping[str, Any]) -> dict[str, str]:
    """A record's score and density as text; empty where they are missing or malformed."""
    try:
        score = score_of(record)
        density = percent(float(record["density"])) if "density" in record else ""
        return {"score": "" if score is None else Metric.of(record).score(float(score)), "density": density}
    except (OneticketError, KeyError, TypeError, ValueError, ArithmeticError):
        return {}


def _place(defined: Mapping[str, Any]) -> str:
    """Such as `digits:a (sgd)`, a file's id, or of how many searches a consensus is; empty if not known."""
    try:
        found = read_step(Step(kind=defined["kind"], args=defined["args"]))
    except Exception:  # of any kind: see `described`
        return ""
    if isinstance(found, FileStep):
        return f"{found.kind} {found.id[:12]}"
    if isinstance(found, ConsensusStep):
        return f"a consensus of {len(defined['needs']) // 2}"
    return f"{found.target.data.called} ({found.target.optimizer.name})"
