"""Plans of studies in a store: which steps a study asks for, by address, so that others see how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneticket.ground import clock, note
from oneticket.ground.errors import StoreError
from oneticket.store.designs import file_of
from oneticket.store.files import Files
from oneticket.store.names import ROOM

KIND = "plan of a study"
FOLDER = f"{ROOM}/plans/"


@dataclass(frozen=True, kw_only=True)
class KeptPlan:
    """What a study asks for: the addresses of its cells by part, and of all steps. `title`: what it is called."""

    study: str
    title: str
    date: str
    parts: Mapping[str, Sequence[str]]
    steps: Sequence[str]

    @property
    def cells(self) -> list[str]:
        """The addresses of all cells, each once."""
        return list(dict.fromkeys(key for keys in self.parts.values() for key in keys))


class Plans:
    """One sealed note for each study, of its last run. It is in no address, and costs no outcome if it is lost."""

    def __init__(self, files: Files, tell: Callable[[str, object, str], None]) -> None:
        self._files, self._tell = files, tell

    def write(self, study: str, *, title: str, parts: Mapping[str, Sequence[str]], steps: Iterable[str]) -> None:
        """Keep what a study asks for in place of what it asked for before."""
        name = file_of(study, FOLDER)
        plan = {"study": study, "title": title, "date": clock.date(), "parts": dict(parts), "steps": list(steps)}
        self._files.write({name: note.write(KIND, name, plan).encode()})

    def read(self, listed: Iterable[str]) -> list[KeptPlan]:
        """The plans among the listed files, by name; damaged ones are reported and left out."""
        names = sorted(name for name in listed if holds(name))
        found = []
        for name, data in self._files.read(names).items():
            try:
                found.append(_plan(note.read(data, KIND, name)))
            except StoreError as error:
                self._tell(name, error, "how far this study is, is not known until it is run again")
        return found


def holds(name: str) -> bool:
    """Whether a file of that name holds a plan."""
    return name.startswith(FOLDER) and name.endswith(".json")


def check(name: str, data: bytes) -> None:
    """Raise StoreError if a note of a plan is damaged, or another's."""
    _plan(note.read(data, KIND, name))


def _plan(given: Any) -> KeptPlan:
    """Raises StoreError for what no study can have asked for."""
    try:
        parts = {str(part): [str(key) for key in keys] for part, keys in given["parts"].items()}
        words = {name: str(given[name]) for name in ("study", "title", "date")}
        return KeptPlan(parts=parts, steps=[str(key) for key in given["steps"]], **words)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError("it is no plan of a study") from error
