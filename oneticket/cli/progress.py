"""Progress: a live bar on a terminal, now and then a plain line elsewhere. Written to standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from oneticket.cli.terminal import err, lines, plain
from oneticket.ground import clock

if TYPE_CHECKING:
    from oneticket.store.step import Step
    from oneticket.training.loop import Run

PLAIN_EVERY = 10.0  # seconds between plain lines
ENDS = ("done", "reused", "failed", "not run")
TOLD = {
    "elsewhere": "somebody else is at it; waiting for what comes out",
    "lost": "whoever was at it is gone; begun again from its last checkpoint",
    "there already": "done twice: somebody else put the same outcome meanwhile",
    "drifted": "done twice, with another outcome; the first stays, and `oneticket store show` tells of both",
}


@dataclass(kw_only=True)
class View:
    """What is shown of a run: how many trainings are done, which one is under way, how long the rest may take."""

    console: Console
    total: int
    bar: Progress | None = None
    task: TaskID | None = None
    began: float = field(default_factory=clock.now)
    shown: float = field(default_factory=clock.now)
    over: float = 0.0
    worked: int = 0
    reused: int = 0
    under_way: dict[str, str] = field(default_factory=dict)

    def observe(self, step: Step, event: str) -> None:
        """Hear of a step from the engine."""
        if event in TOLD:
            self.console.print(lines(f"{describe(step)}: {TOLD[event]}"), soft_wrap=True)
        if event in ("begun", "lost"):
            self.under_way[step.key] = describe(step)
        elif event not in ("there already", "drifted"):
            self.under_way.pop(step.key, None)
        if event in ENDS:
            self.over += 1
            self.reused += event == "reused"
            self.worked += event == "done"
        self._show(0.0)

    @property
    def now(self) -> str:
        """What is being done."""
        more = f" and {len(self.under_way) - 1} more" if len(self.under_way) > 1 else ""
        return next(iter(self.under_way.values()), "") + more

    def watch(self, run: Run) -> None:
        """See a training's position, as a watcher; looks at the clock, never at the device."""
        if clock.now() - self.shown >= (0.2 if self.bar else PLAIN_EVERY):
            self._show(run.position / len(run.losses))

    def _show(self, part: float) -> None:
        rest = self._rest(part)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.over + part, now=plain(self.now).plain, rest=rest)
            self.shown = clock.now()
        elif clock.now() - self.shown >= PLAIN_EVERY:
            self.shown = clock.now()
            doing = [f"{self.now}, {part:.0%}"] if self.under_way else []
            said = "; ".join([f"{int(self.over)}/{self.total} done", *doing, rest])
            self.console.print(lines(said), soft_wrap=True)

    def _rest(self, part: float) -> str:
        """How long the rest may take, if it goes on as since the beginning."""
        worked = self.worked + part
        left = self.total - self.over - part
        if worked <= 0 or clock.now() - self.began < 1:
            return "estimating"
        return f"about {spoken((clock.now() - self.began) / worked * left)} left"


@contextmanager
def view(total: int, *, quiet: bool = False) -> Iterator[View]:
    """A view of `total` steps, drawn as fits the terminal."""
    console = err(quiet=quiet)
    if quiet or not console.is_terminal:
        yield View(console=console, total=total)
        return
    columns: Sequence[Any] = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}", markup=False),
        TextColumn("{task.fields[rest]}", style="dim", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, now="", rest="")
        yield View(console=console, total=total, bar=bar, task=task)


def describe(step: Step) -> str:
    """A step in a few words."""
    from oneticket.study.steps import Blank, Carried, FileStep, LevelStep, RewindStep, TransferStep, read_step

    match asked := read_step(step):
        case FileStep():
            return f"reading {asked.kind} {asked.id[:16]}"
        case TransferStep(source=Carried(level=level)):
            what = f"{asked.arm} at level {level} on"
        case TransferStep(source=Blank(living=living)):
            what = f"{asked.arm} of {living:,} on" if living else f"{asked.arm} on"
        case LevelStep():
            what = f"level {asked.number} of"
        case RewindStep():
            what = "the first steps of"
    target = asked.target
    return f"{what} {target.data.called} with {target.optimizer.name}, replicate {asked.replicate}"


def spoken(seconds: float) -> str:
    """A length of time in words.

    >>> spoken(42), spoken(600), spoken(9000), spoken(1e6)
    ('42 s', '10 min', '2 h 30 min', '12 days')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{round(minutes / 1440):,} days"
