"""What is being done before training: a temporary line on a terminal; otherwise a line if it takes long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

from oneticket.ground.allocator import uncollected
from oneticket.ground.phase import listening, phase
from oneticket.session.terminal import drawn, err, plain

if TYPE_CHECKING:
    from rich.spinner import Spinner


@contextmanager
def telling(*, quiet: bool) -> Iterator[None]:
    """Show every phase on standard error: on a terminal at once until something is printed, otherwise only long ones.

    So a script that reads standard error gets a mistake as its only line.
    """
    with listening(None if quiet else _Shown()):
        yield


@contextmanager
def loading() -> Iterator[None]:
    """Import what a command needs: a phase, without garbage collection.

    Thousands of modules are made and none is thrown away. Measured with `find`: collections took 1 of 5 s of CPU time.
    """
    with phase("loading PyTorch"), uncollected():
        yield


class _Shown:
    """Shows the innermost open phase; where lines are permanent, each long phase is shown once."""

    def __init__(self) -> None:
        self._console = err()
        self._open: list[str] = []
        self._printed = set[str]()
        self._spinner: Spinner | None = None

    @contextmanager
    def __call__(self, words: str) -> Iterator[None]:
        if not self._console.is_terminal:
            late = Timer(LONG, self._tell, [words])
            late.daemon = True
            late.start()
            try:
                yield
            finally:
                late.cancel()
            return
        self._open.append(words)
        try:
            if len(self._open) > 1:
                yield
                return
            from rich.live import Live

            live = Live(get_renderable=self._drawn, console=self._console, transient=True, refresh_per_second=8)
            with live, drawn(live.stop):
                live.refresh()
                yield
        finally:
            self._open.pop()

    def _tell(self, words: str) -> None:
        if words not in self._printed:
            self._printed.add(words)
            self._console.print(plain(f"{words} ..."), soft_wrap=True)

    def _drawn(self) -> Spinner:
        """The spinner turns with the clock."""
        if self._spinner is None:
            from rich.spinner import Spinner

            self._spinner = Spinner("line" if self._console.options.ascii_only else "dots")
        self._spinner.update(text=plain(f"{self._open[-1]} ...") if self._open else "")
        return self._spinner


LONG = 10.0  # seconds before a phase is shown where lines are permanent
