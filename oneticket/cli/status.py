"""What is being done before anything is trained: a line that comes and goes on a terminal, a plain line elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.spinner import Spinner

from oneticket.cli.terminal import err, plain
from oneticket.ground.phase import listening


@contextmanager
def telling(*, quiet: bool) -> Iterator[None]:
    """Show every phase within on standard error, at once and as long as it lasts."""
    with listening(None if quiet else _Shown()):
        yield


class _Shown:
    """Shows the innermost phase that is open; where lines stay, each is told once."""

    def __init__(self) -> None:
        self._console = err()
        self._open: list[str] = []
        self._told = set[str]()
        self._spinner = Spinner("dots")

    @contextmanager
    def __call__(self, words: str) -> Iterator[None]:
        if not self._console.is_terminal:
            if words not in self._told:
                self._told.add(words)
                self._console.print(plain(f"{words} ..."), soft_wrap=True)
            yield
            return
        self._open.append(words)
        try:
            if len(self._open) > 1:
                yield
                return
            with Live(get_renderable=self._drawn, console=self._console, transient=True, refresh_per_second=8) as live:
                live.refresh()
                yield
        finally:
            self._open.pop()

    def _drawn(self) -> Spinner:
        """The spinner turns with the clock."""
        self._spinner.update(text=plain(f"{self._open[-1]} ...") if self._open else "")
        return self._spinner


LOADING = "loading PyTorch"
