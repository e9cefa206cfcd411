"""One training, from weights to trained weights: what the search and the transfer have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.data.batches import batches, per_epoch, test_batches
from oneticket.data.load import Data
from oneticket.ground.canon import digest
from oneticket.ground.errors import TrainingError
from oneticket.ground.streams import Streams
from oneticket.lottery.place import Place
from oneticket.models.parts import head
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.ticket.guard import attach
from oneticket.ticket.mask import Mask
from oneticket.ticket.values import fingerprint
from oneticket.training import checkpoint
from oneticket.training.loop import Run, train
from oneticket.training.measure import measure
from oneticket.training.spec import TrainingSpec
from oneticket.training.watch import finite, keeper, watched


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training left: the losses of its steps (float32, CPU) and, where it was measured, its record."""

    losses: Tensor
    record: Mapping[str, Any]


def run_training(
    model: nn.Module,
    mask: Mask,
    *,
    data: Data,
    optimizer: OptimizerSpec,
    training: TrainingSpec,
    streams: Streams,
    start: int,
    stop: int | None,
    place: Place,
    measured: bool = True,
) -> Trained:
    """Train `model` in place, its mask held, from schedule step `start` to `stop` (None: to the end), and measure it.

    Moves the model to `place.device`, and resumes from `place.checkpoint` if one is there.
    """
    epoch = per_epoch(data, training.batch)
    total = training.budget.steps(epoch)
    stop = total if stop is None else stop
    # A checkpoint goes on only with the very same training: it would also fit other weights, masks or data.
    given = [
        data.digest,
        optimizer.plain(),
        training.plain(),
        streams.root,
        streams.replicate,
        start,
        stop,
        mask.digest,
    ]
    about = digest([given, fingerprint({name: value.contiguous() for name, value in model.state_dict().items()})])
    # Convolutions take about a quarter less time a step in this layout (benchmarks/step.py); other layers do not mind.
    model.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = build_optimizers(optimizer, model, head=head(model))
    with attach(model, optimizers, mask, rule=training.guard) as guard:
        run = Run.begin(model, optimizers, precision=training.precision, position=start, total=total, about=about)
        if place.checkpoint is not None:
            checkpoint.load(place.checkpoint, run)
        keep = keeper(place.checkpoint, seconds=place.every, stop=place.stop)
        feed = batches(data, batch=training.batch, streams=streams, start=run.position, stop=stop)
        steps = train(run, feed, training=training, optimizer=optimizer, streams=streams, per_epoch=epoch, stop=stop)
        for _ in watched(
            steps, run, [finite(stop, every=1 if run.device.type == "cpu" else 50), keep, *place.watchers]
        ):
            pass
        guard.audit()
    losses = run.losses[start:stop].to("cpu", torch.float32)
    if not measured:
        return Trained(losses=losses, record={})
    found = measure(model, test_batches(data))
    if not math.isfinite(found.loss):
        raise TrainingError(f"the test loss after {stop} steps is {found.loss}; try a lower --lr, or --clip 1.0")
    return Trained(
        losses=losses,
        record={
            "density": mask.density,
            "living": mask.living,
            "accuracy": found.accuracy,
            "loss": found.loss,
            "train_loss": float(losses[-epoch:].mean()),
            "steps": stop - start,
            "examples": (stop - start) * min(training.batch, len(data.train)),
            "data_digest": data.digest,
        },
    )
