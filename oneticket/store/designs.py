"""Designs of studies in a store: what each study, by its name, stated before its trainings, run by run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from oneticket.ground import clock, note
from oneticket.ground.canon import digest
from oneticket.ground.errors import StoreError
from oneticket.store.files import Files
from oneticket.store.names import ROOM

KIND = "designs of a study"
FOLDER = f"{ROOM}/studies/"
LONGEST = 100
"""Signs of a name that is a file's; of a longer one its digest is."""


class Designs:
    """One sealed note for each study. A damaged or lost note loses only its own content, and no outcome."""

    def __init__(self, files: Files, tell: Callable[[str, object, str], None]) -> None:
        self._files, self._tell = files, tell

    def read(self, study: str) -> list[dict[str, Any]]:
        """The designs kept of that study, each with its `date`; none where there is no whole note."""
        name = file_of(study)
        data = self._files.read([name]).get(name)
        try:
            return [] if data is None else list(note.read(data, KIND, name))
        except StoreError as error:
            self._tell(name, error, "which design this study was begun with is not known")
            return []

    def add(self, study: str, design: Mapping[str, Any]) -> None:
        """Keep one more design, with today's date."""
        name, kept = file_of(study), [*self.read(study), {**design, "date": clock.date()}]
        self._files.write({name: note.write(KIND, name, kept).encode()})


def file_of(study: str, folder: str = FOLDER) -> str:
    """Where a study's designs lie.

    >>> file_of("paper-small"), file_of("a/b")
    ('format-2/studies/paper-small.json', 'format-2/studies/a%2Fb.json')
    """
    safe = quote(study, safe="")
    return f"{folder}{safe if len(safe) <= LONGEST else digest(study)}.json"


def check(name: str, data: bytes) -> None:
    """Raise StoreError if a note of designs is damaged, or another's."""
    note.read(data, KIND, name)
