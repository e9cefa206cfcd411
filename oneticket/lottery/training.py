"""One training, from weights to trained weights: what the search and the transfer have in common."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from shutil import which
from typing import TypeVar

import torch
from torch import nn

from oneticket.compact.alone import alone
from oneticket.compact.compact import Compact, compact
from oneticket.compact.row import by_column
from oneticket.data.batches import batches, test_batches
from oneticket.data.data import Data
from oneticket.data.facts import per_epoch
from oneticket.ground.allocator import give_back
from oneticket.ground.canon import digest
from oneticket.ground.errors import TrainingError
from oneticket.ground.threads import threads
from oneticket.guard.guard import guarded
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.training_request import Trained, TrainingRequest, Work
from oneticket.models.parts import head
from oneticket.optim.build import build as build_optimizers
from oneticket.task.heads import with_heads
from oneticket.task.task import Task, task_of
from oneticket.ticket.mask import Mask
from oneticket.ticket.values import fingerprint
from oneticket.training import checkpoint
from oneticket.training.loop import Run, train
from oneticket.training.measure import measure
from oneticket.training.ranks import Agreement, same, spread
from oneticket.training.watch import Keeper, Watcher, finite, watched

ZERO = 1e-8  # a trained weight below this is zero by itself ("natural sparsity", Caron et al., 2020)
LARGE = 1 << 20  # weights; of smaller networks what is freed is not worth giving back

T = TypeVar("T")


def do(task: Work[T], context: RunContext) -> T:
    """Do a task, with one training after the other; what it returns."""
    with threads(context.threads):
        try:
            job = next(task)
            while True:
                job = task.send(run_training(job, context))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def run_training(job: TrainingRequest, context: RunContext) -> Trained:
    """Do one training.

    Moves the model to `context.device`, and resumes from an existing `context.checkpoint`. Of several ranks in torch's
    default process group, only the first writes checkpoints and measures.
    """
    model, mask, data, training, streams, start = (job.model, job.mask, job.data, job.training, job.streams, job.start)
    task = with_heads(task_of(job.task), data.heads)
    epoch = per_epoch(data, training.batch)
    total = training.budget.steps(epoch)
    stop = total if job.stop is None else job.stop
    about = identity(job, stop, ranks=context.ranks)
    # Convolutions take about a quarter less time a step in this layout (benchmarks/step.py); other layers do not mind.
    model.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    look = 1 if context.device.type == "cpu" else 50
    slim = _slim(job, context, model)
    large = mask.total >= LARGE
    if large:
        give_back()  # what masks and patterns took while they were made
    network, together, stopping, draws = slim.network, list[Watcher](), context.stop, streams
    if context.ranks > 1:
        network = spread(network, mask=mask.digest, about=about)
        agreement = Agreement(context.stop, every=look)
        together, stopping = [agreement], agreement.stop
        draws = replace(streams, root=streams.seed("forward", "rank", context.rank))
    names, columns = head(model), by_column(slim.network)
    with alone(slim):
        optimizers = build_optimizers(job.optimizer, slim.network, head=names)
        with guarded(slim.network, optimizers, slim.mask, rule=training.guard.removesuffix("+fold")) as guard:
            run = Run.begin(network, optimizers, precision=training.precision, position=start, total=total, about=about)
            if context.checkpoint is not None and checkpoint.load(context.checkpoint, run):
                context.spent = run.spent
            elif context.checkpoint is not None and context.checkpoint.read() is not None:
                context.how = "; ".join(
                    filter(
                        None,
                        [context.how, "begun anew: its checkpoint was of other work, another form, or other threads"],
                    )
                )
            run.measure = partial(_measures, slim.network, data, task, columns)
            if context.ranks > 1:
                same("checkpoint", f"{run.position:08x}", run.device, TrainingError)
            share = {"rank": context.rank, "ranks": context.ranks}
            feed = batches(
                data, batch=training.batch, streams=streams, start=run.position, stop=stop, columns=columns, **share
            )
            steps = train(
                run,
                feed,
                task=task,
                training=training,
                optimizer=job.optimizer,
                streams=draws,
                per_epoch=epoch,
                stop=stop,
            )
            slot = None if context.rank else context.checkpoint
            with Keeper(slot, seconds=context.every, stop=stopping) as keep:
                for _ in watched(steps, run, [*together, finite(stop, every=50), keep, *context.watchers]):
                    pass
            guard.audit()
        for weight in network.parameters():
            weight.grad = None  # gradients and moments take as much memory as the weights, and nobody reads them now
        for optimizer in optimizers:
            optimizer.state.clear()
        if large:
            give_back()
        if job.measured and not context.rank:
            found = measure(slim.network, test_batches(data, columns=columns), task, data.scale)
    losses = run.losses[start:stop].to("cpu", torch.float32)
    if not job.measured or context.rank:
        return Trained(losses=losses, record={}, zeros=Mask({}))
    if not math.isfinite(found.loss):
        raise TrainingError(f"the test loss after {stop} steps is {found.loss}; try a lower --lr, or --clip 1.0")
    if wrong := [f"{name} is {score}" for name, score in found.scores.items() if not math.isfinite(score)]:
        raise TrainingError(f"task {task.name}: expected finite scores after {stop} steps; {', '.join(wrong)}")
    trained = {name: model.get_parameter(name).detach().cpu() for name in mask}
    zeros = mask.where(lambda weights: (weights < ZERO).logical_and_(weights > -ZERO), trained)
    return Trained(
        losses=losses,
        zeros=zeros,
        record={
            "density": mask.density,
            "living": mask.remaining,
            **task.metric.plain(),
            "score": found.score,
            **found.scores,
            "loss": found.loss,
            "train_loss": float(losses[-epoch:].mean()),
            "natural_zeros": zeros.remaining / zeros.total if zeros.total else 0.0,
            "steps": stop - start,
            "examples": (stop - start) * min(training.batch, len(data.train)),
            "classes": data.outputs,
            "images": len(data.train),
            **({"commonest": _commonest(data)} if data.classes else {}),
            "data_digest": data.digest,
        },
    )


def _measures(network: nn.Module, data: Data, task: Task, columns: bool) -> dict[str, float]:
    """The measures of a network under way, on the test set."""
    found = measure(network, test_batches(data, columns=columns), task, data.scale)
    return {**found.scores, "loss": found.loss}


def _commonest(data: Data) -> float:
    """The share of the commonest class in the test set: the accuracy of a network that always predicts it.

    For several sets the mean of their shares, as for their score.
    """
    counts = torch.bincount(data.test.targets.cpu(), minlength=data.outputs)
    sets = torch.split(counts, [head.outputs for head in data.heads] or [len(counts)])
    return float(torch.stack([each.max() / each.sum() for each in sets]).mean())


def identity(job: TrainingRequest, stop: int, *, ranks: int = 1) -> str:
    """The digest of a training: a checkpoint of another one would also fit, with other weights, masks or data.

    The number of threads is part of it: a training begun with one and ended with another would equal neither.
    """
    given = [
        job.data.digest,
        job.task.identity(),
        job.optimizer.identity(),
        job.training.identity(),
        job.streams.root,
        job.streams.replicate,
        job.start,
        stop,
        job.mask.digest,
        *([ranks] if ranks > 1 else []),
        torch.get_num_threads(),
    ]
    return digest([given, fingerprint({name: value.contiguous() for name, value in job.model.state_dict().items()})])


def _slim(job: TrainingRequest, context: RunContext, model: nn.Module) -> Compact:
    """The network that is trained in the model's place."""
    exact = job.optimizer.elementwise and job.training.guard != "project" and context.ranks == 1
    if job.training.folds and not exact:
        raise TrainingError(
            f"training.guard {job.training.guard}: folding needs a training on one device, got {context.ranks} ranks; "
            "use --ranks 1, or gate+project"
        )
    wanted = exact and context.compact
    inputs = job.data.inputs.example(min(job.training.batch, len(job.data.train)), device=context.device)
    slim = compact(
        model,
        job.mask,
        example=inputs,
        fold=job.training.folds,
        units=wanted or job.training.folds,
        sparse=wanted and job.training.precision == "float32" and context.compiled is None,
    )
    if context.compiled is not None:
        _compile(slim.network, context.compiled)
    context.how = "; ".join(filter(None, [str(slim), context.compiled and f"compiled, {context.compiled}"]))
    return slim


def _compile(network: nn.Module, mode: str) -> None:
    """Compile a network's forward pass in place: by `nn.Module.compile`, torch would leave a Sequential as it is."""
    if not any(which(found) for found in (os.environ.get("CXX"), "c++", "g++", "clang++") if found):
        raise TrainingError(
            "torch.compile needs a C++ compiler, and none is on the path; install g++, or do without it"
        )
    network.forward = torch.compile(network.forward, mode=mode)
