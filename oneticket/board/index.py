"""The index of a store: what each outcome is and how well it did, read once each, in the background."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oneticket.board.view import Seen, StoreView
from oneticket.ground import clock
from oneticket.ground.errors import OneticketError
from oneticket.ground.metric import Metric, score_of
from oneticket.stats.words import percent
from oneticket.store.step import Step
from oneticket.study.described import described
from oneticket.study.steps import ConsensusStep, FileStep, TransferStep, read_step

BATCH, PAUSE = 100, 1.0  # outcomes read at once, and seconds between two looks for new ones


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An outcome in a line. `source`: where a ticket was found that it trains. `trouble`: why it cannot be used."""

    key: str
    kind: str
    what: str
    size: int
    source: str = ""
    score: str = ""
    metric: str = ""
    density: str = ""
    trouble: str = ""


class Index:
    """Entries by address. A thread reads what is new, at most half of the time, from `start` to `stop`."""

    def __init__(self, view: StoreView) -> None:
        self._view, self._over = view, threading.Event()
        self._entries: dict[str, Entry] = {}
        self._words: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, daemon=True, name="board index")

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until that has come about."""
        self._over.set()
        self._thread.join()

    def entries(self, seen: Seen) -> list[Entry]:
        """Those of the outcomes that were read so far, by what they are."""
        found = [entry for entry in list(self._entries.values()) if entry.key in seen.outcomes]
        return sorted(found, key=lambda entry: (entry.kind, _natural(entry.what), entry.source, entry.key))

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
            size, defined, head = seen.outcomes[key], definitions.get(key), heads.get(key)
            about: dict[str, Any] = {"key": key, "size": size, "what": self._words.get(key, described(defined))}
            about |= {"kind": str(defined["kind"]) if defined else "unknown", "source": sources.get(key, "")}
            if head is None:
                trouble = next((why for name, why in store.ignored.items() if key in name), "it cannot be read")
                self._entries[key] = Entry(**about, trouble=trouble)
            elif head.size != size:
                trouble = f"it is cut short or overlong: {size:,} bytes, its head says {head.size:,}"
                self._entries[key] = Entry(**about, trouble=trouble)
            else:
                self._entries[key] = replace(Entry(**about), **_told(head.record))  # type: ignore[arg-type]

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
        known = self._entries
        return [key for key, size in seen.outcomes.items() if key not in known or known[key].size != size]

    def _run(self) -> None:
        rest = 0.0
        while not self._over.wait(rest):
            began = clock.now()
            try:
                seen = self._view.look()
                lacking = self.lacking(seen)
                self.read(seen, lacking[:BATCH])
                rest = clock.now() - began if len(lacking) > BATCH else PAUSE
            except OneticketError:  # the store cannot be read now; the pages show that
                rest = PAUSE


def _natural(words: str) -> list[tuple[int, str]]:
    """Words in an order in which level 5 comes before level 11."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", words)]


def _told(record: Mapping[str, Any]) -> dict[str, str]:
    """A record's score and density as text; empty where they are missing or malformed."""
    try:
        score = score_of(record)
        metric = Metric.of(record).name if score is not None else ""
        density = percent(float(record["density"])) if "density" in record else ""
        return {"score": "" if score is None else f"{float(score):.4f}", "metric": metric, "density": density}
    except (OneticketError, KeyError, TypeError, ValueError):
        return {}


def _place(defined: Mapping[str, Any]) -> str:
    """Such as `digits:a (sgd)`, a file's id, or of how many searches a consensus is; empty if not known."""
    try:
        found = read_step(Step(kind=defined["kind"], args=defined["args"]))
    except (KeyError, TypeError, OneticketError):
        return ""
    if isinstance(found, FileStep):
        return f"{found.kind} {found.id[:12]}"
    if isinstance(found, ConsensusStep):
        return f"a consensus of {len(defined['needs']) // 2}"
    return f"{found.target.data.called} ({found.target.optimizer.name})"
