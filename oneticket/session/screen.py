"""Where progress is shown: a bar on a terminal, lines in a log, one output of a notebook's cell, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from oneticket.session.terminal import GAP, err, lines, plain, show


class Screen(Protocol):
    """What a run is shown on.

    `every`: seconds between two updates. `drawn`: whether an update takes the place of the last. `silent`: whether
    nothing is shown at all.
    """

    every: float
    drawn: bool
    silent: bool

    def line(self, words: object, *, style: str = "") -> None:
        """Show a line, or some, that stay."""

    def doing(self, words: str) -> None:
        """Show work other than training."""

    def update(self, *, done: int, part: float | None, now: str, rest: str) -> None:
        """Show how many steps are done, which is under way and how far (None: not known), how long the rest takes."""


class LogScreen:
    """Lines on standard error; silent if asked."""

    every, drawn = 10.0, False

    def __init__(self, total: int, *, silent: bool = False) -> None:
        self.total, self.silent = total, silent
        self.console = err(quiet=silent)

    def line(self, words: object, *, style: str = "") -> None:
        """See `Screen`."""
        show(self.console, words, style=style, hang=GAP)

    def doing(self, words: str) -> None:
        """See `Screen`."""
        self.line(f"{words} ...")

    def update(self, *, done: int, part: float | None, now: str, rest: str) -> None:
        """See `Screen`."""
        under_way = now if part is None else f"{now}, {part:.0%}"
        self.line("; ".join(filter(None, [f"{done}/{self.total} done", under_way, rest])))


class BarScreen(LogScreen):
    """A bar on a terminal, below the lines; it goes when the run ends."""

    every, drawn = 0.2, True

    def __init__(self, total: int) -> None:
        super().__init__(total)
        whole, short = Column(no_wrap=True), Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns: Sequence[Any] = (
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}", markup=False, table_column=short),
            TextColumn("{task.fields[rest]}", style="dim", markup=False, table_column=whole),
        )
        self.bar = Progress(*columns, console=self.console, transient=True, expand=True)
        self._task = self.bar.add_task("", total=total, now="", rest="")

    def doing(self, words: str) -> None:
        """See `Screen`."""
        self.bar.update(self._task, now=plain(words).plain, rest="")

    def update(self, *, done: int, part: float | None, now: str, rest: str) -> None:
        """See `Screen`."""
        self.bar.update(self._task, completed=done + (part or 0.0), now=plain(now).plain, rest=rest)


class CellScreen:
    """The output of a notebook's cell, replaced in place: the progress of the run, and at the end its result.

    All lines are folded away below. It needs only IPython, and no network.
    """

    every, drawn, silent = 0.5, True, False

    def __init__(self, total: int) -> None:
        from IPython import display

        self.total, self._lines, self._top = total, list[str](), ""
        put: Any = display.display
        self._shown = put(_Cell("", "starting"), display_id=True)

    def line(self, words: object, *, style: str = "") -> None:
        """See `Screen`."""
        del style
        self._lines += map(str, lines(words).split("\n"))
        self._draw(self._top)

    def doing(self, words: str) -> None:
        """See `Screen`."""
        self._draw(escape(f"{words} ..."))

    def update(self, *, done: int, part: float | None, now: str, rest: str) -> None:
        """See `Screen`."""
        bar = f'<progress max="{self.total}" value="{done + (part or 0.0):.2f}" style="width:8em"></progress>'
        said = " · ".join(filter(None, [f"{done}/{self.total}", now, rest]))
        self._draw(f"{bar} {escape(said)}")

    def close(self) -> None:
        """Leave what came of it on top: the run's last line."""
        self._draw(escape(self._lines.pop()) if self._lines else "")

    def _draw(self, top: str) -> None:
        self._top = top
        count = f"{len(self._lines):,} line{'s' * (len(self._lines) != 1)}"
        cut = [f"the last {MOST}:"] if len(self._lines) > MOST else []
        shown = "<br>".join(map(escape, [*cut, *self._lines[-MOST:]]))
        more = f"<details><summary>{count}</summary>{shown}</details>" if shown else ""
        html = f'<div style="font-size:0.9em;opacity:0.85"><div>{top}</div>{more}</div>'
        self._shown.update(_Cell(html, "\n".join(self._lines)))


MOST = 60  # lines that a notebook keeps, since all of them are sent again each time


class _Cell:
    """What a notebook shows, as HTML and, where it shows none, as text."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


@contextmanager
def screen(progress: bool | None, *, total: int) -> Iterator[Screen]:
    """The right screen for where this runs, for a run of `total` steps.

    `progress`: True shows it anywhere, False nowhere, None in a notebook or at a terminal.
    """
    console = err()
    if progress is False or (progress is None and not (console.is_jupyter or console.is_terminal)):
        yield LogScreen(total, silent=True)
    elif console.is_jupyter:
        cell = CellScreen(total)
        try:
            yield cell
        finally:
            cell.close()
    elif console.is_terminal:
        shown = BarScreen(total)
        with shown.bar:
            yield shown
    else:
        yield LogScreen(total)
