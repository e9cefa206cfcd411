"""What a plan will cost: how many trainings are new, and how long they take, from what is known or from a short try."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from oneticket.data.cache import keep_note, kept_note
from oneticket.data.facts import Facts, per_epoch
from oneticket.data.spec import DataSpec
from oneticket.ground import clock
from oneticket.ground.canon import dumps
from oneticket.ground.errors import DataError
from oneticket.ground.phase import phase
from oneticket.ground.streams import Streams
from oneticket.ground.threads import threads
from oneticket.lottery.run_context import RunContext
from oneticket.models.build import build_network
from oneticket.optim.spec import OptimizerSpec
from oneticket.store.provenance import host
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.plan import closure
from oneticket.study.steps import Blank, RewindStep, TransferStep, measured, training_step, trains
from oneticket.task.inputs import Inputs
from oneticket.task.spec import TaskSpec
from oneticket.training.spec import TrainingSpec

if TYPE_CHECKING:
    from oneticket.training.loop import Run

LEAST, MOST, LONGEST = 3, 15, 3.0  # optimizer steps of a try, and seconds after which it ends

PACE = "pace of a training"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`steps` in all, `trainings` among them, `kept` already in the store; for the rest: optimizer steps and seconds.

    `seconds`: one training after the other on this device; measuring on the test set comes on top. `unknown`: trainings
    to do whose time is not known.
    """

    steps: int
    trainings: int
    kept: int
    updates: int
    seconds: float
    unknown: int

    @property
    def to_do(self) -> int:
        """Steps that are not in the store yet."""
        return self.steps - self.kept


def estimate(
    steps: Iterable[Step],
    *,
    store: Store,
    context: RunContext,
    paces: dict[str, float | None],
    kinds: dict[str, Kind] | None = None,
    measure: bool = False,
) -> Estimate:
    """Count the steps and all their needs, and add up what is missing.

    A step's pace (seconds per optimizer step) is the median of similar steps in the store, on this kind of device and
    with as many threads; without any, an earlier measurement. Otherwise it is unknown, or with `measure` a few steps
    are taken and timed. `paces` and `kinds` keep results from one call to the next.
    """
    asked = closure(steps)
    there = store.there(step.key for step in asked)
    known = store.provenances(there)
    samples: dict[str, list[float]] = {}
    kinds = {} if kinds is None else kinds
    for step in asked:
        if trains(step) and step.key not in kinds:
            kinds[step.key] = kind_of(step, context)
    jobs = [(step, kinds[step.key]) for step in asked if trains(step)]
    with threads(context.threads):
        here = (str(context.device), torch.get_num_threads())
    for step, job in jobs:
        provenance = known.get(step.key, {})
        if (provenance.get("device"), provenance.get("threads")) == here and job.updates:
            samples.setdefault(job.like, []).append(float(provenance["seconds"]) / job.updates)
    paces.update({like: statistics.median(found) for like, found in samples.items()})
    seconds, updates, unknown = 0.0, 0, 0
    for step, job in jobs:
        if step.key in there:
            continue
        if job.like not in paces:
            paces[job.like] = _pace(job, context, here, measure=measure)
        pace = paces[job.like]
        updates += job.updates
        seconds += (pace or 0.0) * job.updates
        unknown += pace is None and measured(step)
    trainings = sum(measured(step) for step in asked)
    return Estimate(
        steps=len(asked), trainings=trainings, kept=len(there), updates=updates, seconds=seconds, unknown=unknown
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The training of a step, as far as it matters for its time."""

    network: Mapping[str, Any]
    data: DataSpec
    facts: Facts
    task: TaskSpec
    optimizer: OptimizerSpec
    training: TrainingSpec
    updates: int

    @cached_property
    def like(self) -> str:
        """What trainings have in common that take as long per optimizer step."""
        same = {name: value for name, value in self.network.items() if name != "classes"}
        return dumps([same, self.task.name, self.optimizer.name, self.training.batch, self.training.precision])


def kind_of(step: Step, context: RunContext) -> Kind:
    """The training of a step that trains; DataError where its data are needed and not available."""
    planned = training_step(step)
    asked = planned.spec
    data, training = asked.data, asked.training
    if not isinstance(planned, TransferStep):
        inputs, model = None, planned.spec.model.identity()
    elif isinstance(planned.source, Blank):
        inputs, model = Inputs.read(planned.source.network), planned.source.network["spec"]
    elif planned.source.file is None:
        search = planned.source.searched.spec
        inputs, model = context.facts(search.data, search.task).inputs, search.model.identity()
    else:
        raise AssertionError("files are transferred by `transfer`, which makes no estimates")
    facts = context.facts(data, asked.task, inputs)
    epoch = per_epoch(facts, training.batch)
    total = training.budget.steps(epoch)
    begun = planned.start if isinstance(planned, TransferStep) else planned.spec.rewind.steps(epoch)
    updates = begun if isinstance(planned, RewindStep) else total - begun
    return Kind(
        network={"spec": model, **facts.inputs.plain(), "classes": facts.outputs},
        data=data,
        facts=facts,
        task=asked.task,
        optimizer=asked.optimizer,
        training=training,
        updates=updates,
    )


def _pace(job: Kind, context: RunContext, here: tuple[str, int], *, measure: bool) -> float | None:
    """Seconds per optimizer step as they were measured on this machine, or are now; None where they are not known."""
    known = [job.like, *here, host()]
    if not measure:
        found = kept_note(PACE, known)
        return None if found is None else float(found)
    with phase(f"timing {job.network['spec']['name']} on {job.data.called}"):
        pace = _try(job, context)
    if pace is not None:
        keep_note(PACE, known, pace)
    return pace


class _Enough(Exception):
    """A try has taken steps enough. Not KeyboardInterrupt, which is the user's and must end the command."""


def _try(job: Kind, context: RunContext) -> float | None:
    """Seconds per optimizer step, over a few steps of the real thing; None where the data are not available."""
    from oneticket.lottery.training import run_training
    from oneticket.lottery.training_request import TrainingRequest
    from oneticket.ticket.mask import Mask

    moments = [clock.now()]

    def note(run: Run) -> None:
        float(run.losses[run.position - 1])  # waits for the device
        moments.append(clock.now())
        if len(moments) >= MOST or (len(moments) >= LEAST and moments[-1] - moments[0] > LONGEST):
            raise _Enough

    try:
        data = context.data(job.data, job.task, job.facts.inputs)
    except DataError:
        return None
    model = build_network(job.network, seed=0)
    with contextlib.suppress(_Enough), threads(context.threads):
        run_training(
            TrainingRequest(
                model=model,
                mask=Mask({}),
                data=data,
                task=job.task,
                optimizer=job.optimizer,
                training=job.training,
                streams=Streams(root=0, replicate=0),
                measured=False,
            ),
            replace(context, watchers=(note,), checkpoint=None),
        )
    # The first update includes one-time costs, and counts only if there is no other.
    counted = moments[1:] if len(moments) > 2 else moments
    return (counted[-1] - counted[0]) / (len(counted) - 1)
