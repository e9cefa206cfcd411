"""The board: all that its pages are made of: a store's view, its index, whole outcomes, the reports of studies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oneticket.board.index import Index
from oneticket.board.layers import Outcomes
from oneticket.board.reports import Reports
from oneticket.board.view import StoreView
from oneticket.ground.errors import SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.store.store import Store
from oneticket.study.file import SHIPPED, read_study
from oneticket.study.resolve import plan_of


class Board:
    """A store as its pages show it. The board never writes to, locks or repairs the store.

    `studies`: names, files or functions of studies whose figures are drawn in addition to the shipped ones. Raises
    SpecError for a mistake in one of them, StoreError for a store that cannot be opened.
    """

    def __init__(self, store: str | os.PathLike[str], studies: Iterable[str] = ()) -> None:
        self.store = Store(store, read_only=True)
        self.view = StoreView(self.store)
        self.index = Index(self.view)
        self.outcomes = Outcomes(self.store)
        named: dict[str, str] = {}
        for name in dict.fromkeys(studies):
            if (other := named.setdefault(_called(name), name)) != name:
                raise SpecError(f"{other} and {name} are both studies called {_called(name)}: show one of them")
        shipped = {file.stem: file.stem for file in SHIPPED.glob("*.toml")}
        self.given = tuple(named)
        self.reports = Reports(self.view, {**shipped, **named})

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read in the background while the block runs."""
        self.index.start()
        self.reports.start()
        try:
            yield
        finally:
            self.index.stop()
            self.reports.stop()


def _called(name: str) -> str:
    """What a study calls itself. Files are planned later; what a function makes is known once it has made it."""
    if ":" in name and not Path(name).exists():
        return plan_of(name, RunContext(pretend=True)).name
    return read_study(Path(name)).name
