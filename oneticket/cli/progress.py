"""Progress: a live bar on a terminal, now and then a plain line elsewhere. Written to standard error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from oneticket.cli.finished import FinishedLines
from oneticket.cli.terminal import err, lines, plain
from oneticket.ground import clock
from oneticket.ground.phase import listening
from oneticket.study.described import describe

if TYPE_CHECKING:
    from oneticket.store.step import Step
    from oneticket.store.store import Store
    from oneticket.training.loop import Run

PLAIN_EVERY = 10.0  # seconds between plain lines
SOON, LATE = 3.0, 30.0  # seconds of training before an estimate: with a step done since, and without
SHARE = 0.05  # of a training, the first steps of a search where units do not say
ENDS = ("done", "reused", "failed", "not run")
TOLD = {
    "elsewhere": "somebody else is at it; waiting for what comes out",
    "lost": "whoever was at it is gone; begun again from its last checkpoint",
    "there already": "done twice: somebody else put the same outcome meanwhile",
    "drifted": "done twice, with another outcome; the first stays, and `oneticket store show` tells of both",
}


@dataclass(kw_only=True)
class View:
    """What is shown of a run: what is done, what is under way, what came of each training, how long the rest may take.

    `weights`: step -> its work, in trainings; 1 unless said. `store`: where what is done lies; given it, each finished
    training is told in a line.
    """

    console: Console
    total: int
    weights: Mapping[str, float] = field(default_factory=dict)
    store: Store | None = None
    finished: FinishedLines = field(default_factory=lambda: FinishedLines(several=False))
    bar: Progress | None = None
    task: TaskID | None = None
    shown: float = field(default_factory=lambda: clock.now())
    over: int = 0
    left: float = 0.0
    pace: Pace = field(default_factory=lambda: Pace())
    under_way: dict[str, str] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = sum(self.weights.values()) or float(self.total)

    def observe(self, step: Step, event: str) -> None:
        """Hear of a step from the engine."""
        if event in TOLD:
            self.console.print(lines(f"{describe(step)}: {TOLD[event]}"), soft_wrap=True)
        if event in ("begun", "lost"):
            self.under_way[step.key] = describe(step)
            self.pace.part = 0.0
        elif event not in ("there already", "drifted"):
            self.under_way.pop(step.key, None)
        if event in ENDS:
            self.over += 1
            self.left -= self.weights.get(step.key, 1.0)
        if event == "done":
            self.pace.end(self.weights.get(step.key, 1.0))
        if event in ("done", "reused"):
            self._tell(step, event)
        self._show()

    @property
    def now(self) -> str:
        """What is being done."""
        more = f" and {len(self.under_way) - 1} more" if len(self.under_way) > 1 else ""
        return next(iter(self.under_way.values()), "") + more

    def watch(self, run: Run) -> None:
        """See a training's position, as a watcher; looks at the clock, never at the device."""
        self.pace.at(run.position / len(run.losses))
        if clock.now() - self.shown >= (0.2 if self.bar else PLAIN_EVERY):
            self._show()

    @contextmanager
    def phase(self, words: str) -> Iterator[None]:
        """Show what is done beside training, such as measuring this machine."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, now=plain(words).plain, rest="")
        else:
            self.console.print(lines(f"{words} ..."), soft_wrap=True)
        yield

    def _tell(self, step: Step, event: str) -> None:
        """One line for a training that is done; of one that is reused only the dense score is kept."""
        from oneticket.study.steps import measured

        if self.store is None or not measured(step):
            return
        found = self.store.records([step]).get(step.key)
        if found is None:  # damaged, as was told
            return
        line = self.finished.line(step, found, self.store.provenance(step).get("seconds"))
        if event == "done":
            self.console.print(lines(line), soft_wrap=True)

    def _show(self) -> None:
        part = self.pace.part if self.under_way else 0.0
        left = self.pace.left(self.left)
        rest = f"about {clock.spoken(left)} left" if left is not None else ""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.over + part, now=plain(self.now).plain, rest=rest)
            self.shown = clock.now()
        elif clock.now() - self.shown >= PLAIN_EVERY:
            self.shown = clock.now()
            doing = [f"{self.now}, {part:.0%}"] if self.under_way else []
            self.console.print(
                lines("; ".join(filter(None, [f"{self.over}/{self.total} done", *doing, rest]))), soft_wrap=True
            )


@dataclass(kw_only=True)
class Pace:
    """How fast trainings go, from the first optimizer step that was seen: what was done before it was not training.

    `part`: how much of the training under way is done.
    """

    part: float = 0.0
    done: float = 0.0
    ended: int = 0
    since: tuple[float, float] | None = None

    def at(self, position: float) -> None:
        """See how far the training under way is, from 0 to 1 of its schedule."""
        self.part = position
        if self.since is None:
            self.since = clock.now(), self.done + position

    def end(self, weight: float) -> None:
        """Hear that a step is done."""
        self.done, self.part = self.done + weight, 0.0
        self.ended += 1
        if self.since is None:  # nothing is watched where workers train
            self.since, self.ended = (clock.now(), self.done), 0

    def left(self, work: float) -> float | None:
        """Seconds that this much more work may take; None as long as nothing is known that is worth telling."""
        if self.since is None:
            return None
        gone, done = clock.now() - self.since[0], self.done + self.part - self.since[1]
        if done <= 0 or gone < SOON or not (self.ended or gone >= LATE):
            return None
        return gone / done * max(work - self.part, 0.0)


@contextmanager
def view(steps: int | Sequence[Step], *, quiet: bool = False, store: Store | None = None) -> Iterator[View]:
    """A view of these steps (or of so many), drawn as fits the terminal; with `store`, a line for each training."""
    console, some = err(quiet=quiet), () if isinstance(steps, int) else steps
    several = len({step.args["replicate"] for step in some if "replicate" in step.args}) > 1
    about: dict[str, Any] = {
        "console": console,
        "total": steps if isinstance(steps, int) else len(steps),
        "weights": {step.key: weight(step) for step in some},
        "store": None if quiet else store,
        "finished": FinishedLines(several=several),
    }
    if quiet or not console.is_terminal:
        shown = View(**about)
        with listening(None if quiet else shown.phase):
            yield shown
        return
    columns: Sequence[Any] = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        TextColumn("{task.fields[rest]}", style="dim", markup=False, table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("", total=about["total"], now="", rest="")
        shown = View(**about, bar=bar, task=task)
        with listening(shown.phase):
            yield shown


def weight(step: Step) -> float:
    """The work of a step, in trainings: of the first steps of a search only their share."""
    from oneticket.study.steps import FileStep, LevelStep, RewindStep, read_step

    match asked := read_step(step):
        case FileStep():
            return 0.0
        case RewindStep() | LevelStep():
            rewind, budget = asked.spec.rewind, asked.spec.training.budget
            share = min(rewind.count / max(budget.count, 1), 1.0) if rewind.unit == budget.unit else SHARE
            return share if isinstance(asked, RewindStep) else 1.0 - share
    return 1.0
