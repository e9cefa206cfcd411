"""Where work is done: the device, the available data, the checkpoints, the watchers. Never part of a result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from oneticket.data.facts import Facts, nominal
from oneticket.data.kept_facts import kept_facts, kept_selection
from oneticket.data.overlap import Selection
from oneticket.data.reading import Reading
from oneticket.data.sources import DataRequest
from oneticket.data.spec import DataSpec
from oneticket.ground.brief import brief
from oneticket.ground.errors import DataError, SelectionError, SpecError, nearest
from oneticket.ground.phase import phase
from oneticket.ground.spec import Spec, own_code
from oneticket.task.inputs import Inputs
from oneticket.task.spec import TaskSpec
from oneticket.task.task import task_of

if TYPE_CHECKING:
    from oneticket.data.data import Data
    from oneticket.training.checkpoint import Slot
    from oneticket.training.watch import Watcher


def never() -> bool:
    """Never stop."""
    return False


MOST_THREADS = 1024
CLASSIFICATION = TaskSpec()
LACKING: Mapping[str, Callable[[], str]] = {
    "cuda": lambda: "no CUDA device was found" if torch.version.cuda else "this PyTorch has no CUDA",
    "mps": lambda: "no MPS device was found" if torch.backends.mps.is_built() else "this PyTorch has no MPS",
}
"""Why there is no device of that kind."""

KEPT = 3  # datasets held in memory at once, of any size: a source, a target, and one more
MOST_KEPT = 2**29  # bytes up to which more are, such as each replicate's draw of a few examples


@dataclass(kw_only=True)
class RunContext:
    """Where and how a step runs: device, threads, data and checkpoints.

    `checkpoint`: where to write one and resume from, or None. `every`: seconds between checkpoints. `stop`: called
    after every optimizer step; once it returns True, a checkpoint is written and KeyboardInterrupt raised. `spent`: the
    seconds that earlier processes spent on what was resumed last. `rank` of `ranks`: the number of this process among
    those that share one training, each with its share of every batch. `watchers` observe the trained network. `compact`
    makes it smaller: it skips dead units, and computes with remaining weights only where that is faster. `compiled`: a
    mode of `torch.compile`, or None. Both change speed and rounding, nothing else; `how` names what the last training
    used. `threads`: CPU threads of a training; None leaves torch's own number, and gives workers one. Another number
    changes rounding. `pretend`: plan also with known sets that are not available; `unread`: also with sets that were
    never read here, where addresses are not looked up, since nothing is stored yet.

    Raises SpecError for a number of threads below 1 or above 1024.

    >>> context = RunContext(device=device("cpu"), threads=1)
    >>> context, context.stop()
    (RunContext(threads=1), False)
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    checkpoint: Slot | None = None
    every: float = 20.0
    watchers: tuple[Watcher, ...] = ()
    stop: Callable[[], bool] = never
    spent: float = 0.0
    rank: int = 0
    ranks: int = 1
    compact: bool = True
    compiled: str | None = None
    threads: int | None = None
    how: str = ""
    pretend: bool = False
    unread: bool = False
    absent: set[str] = field(default_factory=set)
    not_read: set[str] = field(default_factory=set)
    _data: OrderedDict[object, Data] = field(default_factory=OrderedDict, repr=False)
    _facts: dict[object, Facts] = field(default_factory=dict, repr=False)
    _called: dict[object, str] = field(default_factory=dict, repr=False)
    _selections: dict[object, Selection] = field(default_factory=dict, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise SpecError(f"threads: expected a number from 1 to {MOST_THREADS}, got {self.threads}")

    def data(self, spec: DataSpec, task: TaskSpec = CLASSIFICATION, inputs: Inputs | None = None) -> Data:
        """The dataset of that spec with the targets that the task needs, loaded once.

        `inputs`: what a network takes that was found on other data; images are brought to it. Raises DataError for a
        set that is not available.

        >>> data = RunContext().data(DataSpec(name="digits:a"))
        >>> data.train.inputs.shape, data.outputs
        (torch.Size([719, 1, 8, 8]), 10)
        """
        targets = task_of(task).targets
        key = (spec.identity().text, targets, inputs, _modules(spec))
        if key not in self._data:
            while len(self._data) >= KEPT and sum(data.bytes for data in self._data.values()) > MOST_KEPT:
                self._data.popitem(last=False)
            with phase(f"reading {spec.name}"):
                from oneticket.data import load as data_load

                self._data[key] = data_load.load(spec, targets=targets, device=self.device, inputs=inputs)
        self._data.move_to_end(key)
        return self._data[key]

    def said_of_data(self) -> tuple[str, ...]:
        """How each set was read, and how much of it each selection takes; in lines, without doubles.

        >>> context = RunContext()
        >>> _ = context.facts(DataSpec(name="digits:a"))
        >>> context.said_of_data()[1:]
        ('digits:a: 719 of 1,437 images',)
        """
        lines = [str(reading) for reading in self.readings()]
        for key, facts in self._facts.items():
            if facts.reading is not None:
                lines += facts.reading.selected(self._called[key], facts.examples)
        return tuple(dict.fromkeys(lines))

    def readings(self) -> tuple[Reading, ...]:
        """How each set was read whose facts were asked for, without doubles.

        >>> context = RunContext()
        >>> _ = context.facts(DataSpec(name="digits:a"))
        >>> [reading.train.examples for reading in context.readings()]
        [1437]
        """
        return tuple(dict.fromkeys(facts.reading for facts in self._facts.values() if facts.reading))

    def facts(self, spec: DataSpec, task: TaskSpec = CLASSIFICATION, inputs: Inputs | None = None) -> Facts:
        """What planning must know of that dataset; its digest is part of the address of every step that uses it.

        With `pretend`, a known set that is not available counts as published, and its name is noted in `absent`; with
        `unread`, so does one that was never read here, noted in `not_read`. Raises DataError for any other set that is
        not available, SelectionError for one that lacks what the spec asks for.

        >>> RunContext().facts(DataSpec(name="digits", classes=3, per_class=10)).examples
        30
        """
        _renew(spec, task)
        targets = task_of(task).targets
        key = (spec.identity().text, targets, inputs, _modules(spec))
        self._called[key] = spec.called
        if key not in self._facts:
            published = nominal(spec, inputs) if self.pretend and targets == "classes" else None
            request = DataRequest(spec=spec, targets=targets, inputs=inputs)
            try:
                found = kept_facts(request, fetch=published is None)
                if found is None and self.unread and published is not None and not spec.beside:
                    found = published
                    self.not_read.add(spec.set)
                self._facts[key] = found or self.data(spec, task, inputs).facts
            except SelectionError:
                raise  # it is available, and lacks what is asked of it
            except DataError:
                if published is None:
                    raise
                self._facts[key] = published
                for member in spec.members if spec.beside else ():
                    self.facts(member, task, published.inputs)
                self.absent |= set() if spec.beside else {spec.set}
        return self._facts[key]

    def selection(self, spec: DataSpec, task: TaskSpec = CLASSIFICATION, inputs: Inputs | None = None) -> Selection:
        """Which examples that is; of a known set that is not available, with `pretend`, what is selected.

        >>> context = RunContext()
        >>> first, second = (context.selection(DataSpec(name=half)) for half in ("digits:a", "digits:b"))
        >>> first.shared(first), first.shared(second)
        ((719, 0), (0, 0))
        """
        _renew(spec, task)
        key = (spec.identity().text, task_of(task).targets, inputs, _modules(spec))
        if key not in self._selections:
            facts = self.facts(spec, task, inputs)
            there = facts.reading is not None
            request = DataRequest(spec=spec, targets=task_of(task).targets, inputs=inputs)
            self._selections[key] = (
                kept_selection(request, lambda: self.data(spec, task, inputs))
                if there
                else Selection(digest=facts.digest)
            )
        return self._selections[key]


def _renew(*specs: Spec) -> None:
    """Execute edited files of the user's own data and task anew, before anything is planned with them."""
    for spec in specs:
        for table, path in own_code(spec):
            table.renew(path)


def _modules(spec: DataSpec) -> tuple[ModuleType, ...]:
    """Where the user's own data come from: what was read by edited code is read again."""
    return tuple(table.module(path) for table, path in own_code(spec))


def device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` takes CUDA, then MPS, then the CPU. Raises SpecError for a missing device.

    >>> device("cpu")
    device(type='cpu')
    """
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if here["cuda"] else "mps" if here["mps"] else "cpu"
    kind = name.split(":")[0]
    if not here.get(kind, False):
        usable = ", ".join(k for k, there in here.items() if there)
        near = nearest(kind, ["auto", *here])
        lacking = ", which is not available here" if not here.get(near, True) else ""
        why = f"; {LACKING[kind]()}" if kind in LACKING else ""
        hint = f"; did you mean {near!r}{lacking}?" if near and near != kind else ""
        raise SpecError(f"device: expected auto or an available one ({usable}), got {name!r}{why}{hint}")
    return torch.device(name)
