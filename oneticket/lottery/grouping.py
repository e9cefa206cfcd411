"""Several tasks at once: similar trainings are done as one program, the others one by one.

The results are the same either way, to float tolerance.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from oneticket.compact.compact import hooked
from oneticket.data.facts import per_epoch
from oneticket.data.images.stream import Stream
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.stacked_runs import Asked, Outcome, train_alone, train_as_one
from oneticket.lottery.training_request import Trained, TrainingRequest, Work
from oneticket.models.parts import random_forward

T = TypeVar("T")
Placed = Generator[Asked, Trained, T]
"""A task that gives with each request the context in which to run it."""


def placed(task: Work[T], context: RunContext) -> Placed[T]:
    """The task, all of it to be done at one place."""
    try:
        job = next(task)
        while True:
            job = task.send((yield job, context))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def do_together(tasks: Sequence[Placed[T]]) -> list[T | BaseException]:
    """Run tasks in parallel; returns the result of each, or the error that ended it.

    An error in a training is raised in its own task only; the others continue.

    >>> from oneticket.lottery.search import rewind_weights
    >>> from oneticket.lottery.spec import SearchSpec
    >>> spec, context = SearchSpec(data="digits:a", model="lenet-300-100", rewind="3it"), RunContext()
    >>> both = do_together([placed(rewind_weights(spec, replicate, context), context) for replicate in range(2)])
    >>> [done.record["step"] for done in both]
    [3, 3]
    """
    ended: dict[int, T | BaseException] = {}
    answers: dict[int, Outcome | None] = dict.fromkeys(range(len(tasks)))
    try:
        while answers:
            asked: dict[int, Asked] = {}
            for number, answer in answers.items():
                task: Generator[Asked, Any, T] = tasks[number]
                try:
                    asked[number] = task.throw(answer) if isinstance(answer, BaseException) else task.send(answer)
                except StopIteration as end:
                    ended[number] = end.value
                except (Exception, KeyboardInterrupt) as error:
                    if isinstance(error, KeyboardInterrupt) and error is not answer:
                        raise  # raised outside of a training: it concerns all tasks
                    ended[number] = error
            answers = dict(zip(asked, run_trainings([*asked.values()]), strict=True))
    finally:
        for task in tasks:
            task.close()
    return [ended[number] for number in range(len(tasks))]


def run_trainings(asked: Sequence[Asked]) -> list[Outcome]:
    """Do these trainings, each at its place; what `run_training` returns of each, or raises."""
    groups: list[tuple[object, list[int]]] = []
    for number, (job, context) in enumerate(asked):
        kind = object() if _must_be_alone(job, context) else _kind(job, context)
        group = next((group for known, group in groups if known == kind), None)
        if group is None:
            groups.append((kind, [number]))
        else:
            group.append(number)
    done: dict[int, Outcome] = {}
    for _, group in groups:
        some = [asked[number] for number in group]
        done |= zip(group, train_as_one(some) if len(some) > 1 else [train_alone(*some[0])], strict=True)
    return [done[number] for number in range(len(asked))]


def _must_be_alone(job: TrainingRequest, context: RunContext) -> bool:
    """Whether it has hooks, several ranks, or streams images; mixes entries, scales its loss, folds or draws."""
    mixes, scales = not job.optimizer.elementwise, job.training.precision == "float16"
    draws, streamed = random_forward(job.model), isinstance(job.data.train, Stream)
    return bool(hooked(job.model)) or context.ranks > 1 or mixes or scales or job.training.folds or draws or streamed


def _kind(job: TrainingRequest, context: RunContext) -> object:
    """What trainings must have in common to be one program: all but weights, masks, seeds and what examples show."""
    modules = [
        (name, type(module), {key: value for key, value in vars(module).items() if key not in HELD})
        for name, module in job.model.named_modules()
    ]
    tensors = (*job.model.named_parameters(), *job.model.named_buffers())
    shapes = [(name, each.shape, each.dtype, each.requires_grad) for name, each in tensors]
    batch = (
        job.data.inputs,
        job.data.scale is None,
        job.data.heads,
        min(job.training.batch, len(job.data.train)),
        per_epoch(job.data, job.training.batch),
    )
    return context.device, job.task, job.optimizer, job.training, job.start, job.stop, batch, shapes, modules


HELD = ("_parameters", "_buffers", "_modules")
"""What a module holds; its other attributes define what it computes."""
