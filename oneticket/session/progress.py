"""Progress: the finished and running part of a run, and how long the rest may take, for any screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oneticket.ground import clock
from oneticket.ground.phase import listening
from oneticket.session.called import Called
from oneticket.session.finished import FinishedLines
from oneticket.session.screen import Screen, screen
from oneticket.session.work import Work
from oneticket.study.described import describe

if TYPE_CHECKING:
    from oneticket.store.step import Step
    from oneticket.store.store import Store
    from oneticket.training.loop import Run

SOON, LATE = 3.0, 30.0  # seconds of training before an estimate: with a step done since, and without
ENDS = ("done", "reused", "failed", "not run")
TOLD = {
    "elsewhere": "another process works on it; waiting for its result",
    "lost": "the process that worked on it is gone; restarted from its last checkpoint",
    "there already": "done twice: another process stored the same outcome first",
    "drifted": "done twice, with another outcome; the first is kept, and `oneticket store show` shows both",
}


@dataclass(kw_only=True)
class View:
    """What is shown of a run: what is done, what is under way, what came of each training, how long the rest may take.

    `works`: address -> what the step takes; equal for all unless given. `names`: address -> what a step is called.
    `store`: where outcomes are kept; if given, each finished training is reported in one line.
    """

    screen: Screen
    total: int
    works: Mapping[str, Work] = field(default_factory=dict)
    names: Mapping[str, Called] = field(default_factory=dict)
    store: Store | None = None
    finished: FinishedLines = field(default_factory=lambda: FinishedLines(several=False))
    shown: float = field(default_factory=lambda: clock.now())
    over: int = 0
    left: float = 0.0
    share: float | None = None
    pace: Pace = field(default_factory=lambda: Pace())
    under_way: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = sum(each.examples for each in self.works.values()) or float(self.total)

    def observe(self, step: Step, event: str) -> None:
        """Receive an event of a step from the engine."""
        if event in TOLD:
            self.screen.line(f"{self._said(step)}: {TOLD[event]}")
        if event in ("begun", "lost"):
            self.under_way[step.key] = self._said(step)
            self.share, self.pace.part = None, 0.0
        elif event not in ("there already", "drifted"):
            self.under_way.pop(step.key, None)
        if event in ENDS:
            self.over += 1
            self.left -= self._work(step.key).examples
        if event == "done":
            self.pace.end(self._work(step.key).examples)
        if event in ("done", "reused"):
            self._tell(step, event)
        self._show(at_once=self.screen.drawn and event != "reused")

    @property
    def now(self) -> str:
        """What is being done."""
        more = f" and {len(self.under_way) - 1} more" if len(self.under_way) > 1 else ""
        return next(iter(self.under_way.values()), "") + more

    def watch(self, run: Run) -> None:
        """See a training's position, as a watcher; looks at the clock, never at the device."""
        works = [self._work(key) for key in self.under_way] or [Work()]
        share = self.share = min((run.position - run.start) / (works[0].updates or len(run.losses)), 1.0)
        self.pace.at(share * sum(each.examples for each in works))
        self._show()

    @contextmanager
    def phase(self, words: str) -> Iterator[None]:
        """Show work other than training, such as measuring this machine."""
        self.screen.doing(words)
        yield

    def _work(self, key: str) -> Work:
        """What the step takes. Where works are known, a step without one trains nothing."""
        return self.works.get(key, Work(examples=0.0 if self.works else 1.0))

    def _said(self, step: Step) -> str:
        return describe(step, self.names.get(step.key, Called()).arm)

    def _tell(self, step: Step, event: str) -> None:
        """One line for a training that is done; of one that is reused only the dense score is kept."""
        from oneticket.study.steps import measured

        if self.store is None or not measured(step):
            return
        found = self.store.records([step]).get(step.key)
        if found is None:  # damaged, which was reported
            return
        line = self.finished.line(step, found, self.store.provenance(step).get("seconds"))
        if event == "done":
            self.screen.line(line)

    def _show(self, *, at_once: bool = False) -> None:
        if not at_once and clock.now() - self.shown < self.screen.every:
            return
        self.shown = clock.now()
        left = self.pace.left(self.left)
        rest = f"about {clock.spoken(left)} left" if left is not None else ""
        self.screen.update(done=self.over, part=self.share if self.under_way else None, now=self.now, rest=rest)


@dataclass(kw_only=True)
class Pace:
    """How fast trainings go, from the first observed optimizer step: earlier work was not training.

    `part`: how much of the running work is done.
    """

    part: float = 0.0
    done: float = 0.0
    ended: int = 0
    since: tuple[float, float] | None = None

    def at(self, part: float) -> None:
        """See how much of the work under way is done."""
        self.part = part
        if self.since is None:
            self.since = clock.now(), self.done + part

    def end(self, weight: float) -> None:
        """Record that a step is done."""
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
def view(
    steps: int | Sequence[Step],
    *,
    progress: bool | None = True,
    store: Store | None = None,
    names: Mapping[str, Called] | None = None,
    works: Mapping[str, Work] | None = None,
) -> Iterator[View]:
    """A view of these steps (or of so many) on the screen that fits; with `store`, a line for each training.

    `progress`: see `screen`. `works`: what each step takes, by address; all alike unless given.
    """
    some = () if isinstance(steps, int) else steps
    several = len({step.args["replicate"] for step in some if "replicate" in step.args}) > 1
    total = steps if isinstance(steps, int) else len(steps)
    with screen(progress, total=total) as here:
        shown = View(
            screen=here,
            total=total,
            works=works or {},
            store=None if here.silent else store,
            names=names or {},
            finished=FinishedLines(several=several, names=names),
        )
        with listening(None if here.silent else shown.phase):
            yield shown
