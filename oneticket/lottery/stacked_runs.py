"""Similar trainings done as one: each is begun, watched, saved and stopped separately, and ends as it would alone.

Copies of the networks are trained. The result is a checkpoint of each at its end, from which `run_training` continues:
it audits the guard, measures, and returns the result, as after any other training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from oneticket.data.batches import batches
from oneticket.data.facts import per_epoch
from oneticket.ground import clock
from oneticket.ground.errors import OneticketError
from oneticket.guard.guard import guarded
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.training import identity, run_training
from oneticket.lottery.training_request import Trained, TrainingRequest
from oneticket.models.parts import head
from oneticket.optim.build import build as build_optimizers
from oneticket.task.heads import with_heads
from oneticket.task.task import task_of
from oneticket.ticket.mask import Mask
from oneticket.training import checkpoint
from oneticket.training.loop import Run
from oneticket.training.vmap_training import Together
from oneticket.training.watch import Keeper, Watcher, finite

Asked = tuple[TrainingRequest, RunContext]
Outcome = Trained | BaseException


def train_alone(job: TrainingRequest, context: RunContext) -> Outcome:
    """What `run_training` returns, or raises."""
    try:
        return run_training(job, context)
    except (Exception, KeyboardInterrupt) as error:
        return _own(error, context)


def train_as_one(asked: Sequence[Asked]) -> list[Outcome]:
    """Do similar trainings: those at one position, from their checkpoints, as one program, the others separately."""
    try:
        begun = [_begin(*each) for each in asked]
    except Exception:  # done separately, the faulty one raises its own error
        return [train_alone(*each) for each in asked]
    done: dict[int, Outcome] = {}
    for position in {member.run.position for member in begun if member.fits}:
        these = {n: member for n, member in enumerate(begun) if member.fits and member.run.position == position}
        if len(these) > 1 and _train([*these.values()]):
            done |= {number: member.end(len(these)) for number, member in these.items()}
    return [done[number] if number in done else train_alone(*each) for number, each in enumerate(asked)]


@dataclass(kw_only=True)
class _Member:
    """One of several trainings. `fits`: its checkpoint, if any, is of the whole network, not a compact one.

    `check`: whether its loss is finite. `error`: what ended it early.
    """

    job: TrainingRequest
    context: RunContext
    run: Run
    stop: int
    fits: bool
    check: Watcher
    keep: Keeper
    error: BaseException | None = None

    def look(self, *, save: bool) -> None:
        """Show the run to all who watch it."""
        kept: list[Watcher] = [self.keep] if save else []
        try:
            for watch in (self.check, *kept, *self.context.watchers):
                watch(self.run)
        except (Exception, KeyboardInterrupt) as error:
            self.error = _own(error, self.context)

    def close(self) -> None:
        """Wait until what was saved is written."""
        try:
            with self.keep:
                pass
        except OneticketError as error:
            self.error = self.error or error

    def end(self, count: int) -> Outcome:
        """What the training left, of `count` done as one."""
        if self.error is not None:
            return self.error
        slot = _Memory()
        checkpoint.save(slot, self.run)
        here = replace(self.context, checkpoint=slot, watchers=(), compact=False, compiled=None)
        self.context.how = f"{count} together"
        return train_alone(self.job, here)


def _begin(job: TrainingRequest, context: RunContext) -> _Member:
    """The training, from its checkpoint if there is one, on a copy of the network."""
    training, total = job.training, job.training.budget.steps(per_epoch(job.data, job.training.batch))
    stop = total if job.stop is None else job.stop
    model = copy.deepcopy(job.model).to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = build_optimizers(job.optimizer, model, head=head(model))
    about = identity(job, stop)
    run = Run.begin(model, optimizers, precision=training.precision, position=job.start, total=total, about=about)
    slot = context.checkpoint
    loaded = slot is not None and checkpoint.load(slot, run)
    if loaded:
        context.spent = run.spent
    return _Member(
        job=job,
        context=context,
        run=run,
        stop=stop,
        fits=loaded or slot is None or slot.read() is None,
        check=finite(stop, every=50),
        keep=Keeper(slot, seconds=0, stop=context.stop),
    )


def _train(members: Sequence[_Member]) -> bool:
    """Train their runs as one; False, with nothing changed that counts, if that cannot be."""
    job, stop, runs = members[0].job, members[0].stop, [member.run for member in members]
    begun, training, began = runs[0].position, job.training, clock.now()
    saved = began
    try:
        together, task = Together.begin(runs, job.optimizer), with_heads(task_of(job.task), job.data.heads)
        feeds = [
            batches(each.job.data, batch=training.batch, streams=each.job.streams, start=begun, stop=stop)
            for each in members
        ]
        epoch = per_epoch(job.data, training.batch)
        with guarded(together.stack, together.optimizers, _stacked(members), rule=training.guard):
            for _ in together.train(
                feeds, task=task, training=training, optimizer=job.optimizer, per_epoch=epoch, stop=stop
            ):
                now, remaining = clock.now(), [member for member in members if member.error is None]
                # All are saved at once, since only those at the same position go on together.
                save = now - saved >= members[0].context.every or any(member.context.stop() for member in remaining)
                saved = now if save else saved
                for member in remaining:
                    member.run.began = now - (now - began) / len(members)  # its part of the time
                    member.look(save=save)
                if all(member.error for member in members):
                    break
    except Exception as error:
        if runs[0].position == begun:  # torch cannot stack this network, or not here
            return False
        for member in members:
            member.error = member.error or error
    finally:
        for member in members:
            member.close()
    return True


def _stacked(members: Sequence[_Member]) -> Mask:
    """The masks of all, as that of the stack; a name that one lacks is dense in it."""
    shapes = {name: shape for member in members for name, shape in member.job.mask.shapes.items()}
    full = {name: torch.ones(shape, dtype=torch.bool, device="cpu") for name, shape in shapes.items()}
    return Mask({name: torch.stack([each.job.mask.get(name, full[name]) for each in members]) for name in shapes})


def _own(error: BaseException, context: RunContext) -> BaseException:
    """The error as one training's own; an interrupt for which its place did not ask is meant for all, and raised."""
    if isinstance(error, KeyboardInterrupt) and not context.stop():
        raise error
    return error


@dataclass(kw_only=True)
class _Memory:
    """A checkpoint in memory."""

    data: bytes | None = None
    of: str = ""

    def read(self) -> bytes | None:
        return self.data

    def write(self, data: bytes) -> None:
        self.data = data

    def set_aside(self, why: object) -> None:
        raise AssertionError(f"memory does not change by itself: {why}")
