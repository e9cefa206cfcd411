"""The training loop: a generator that yields once per optimizer step, after the guard has projected.

Between two steps the caller may read, save or stop the run without a change in the resulting weights. Positions count
from the start of the schedule, so a rewound or resumed run continues at the right learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.ground import clock
from oneticket.ground.errors import TrainingError
from oneticket.ground.streams import Streams
from oneticket.guard.narrow import sliced
from oneticket.models.parts import random_forward
from oneticket.optim.schedule import lr_factor, set_lr
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.task import Task
from oneticket.training.spec import TrainingSpec
from oneticket.training.update import update

MOST_STEPS = 100_000_000
"""Steps of a training, each of which has an entry in `Run.losses`."""

PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(kw_only=True)
class Run:
    """The state of a training: all that a checkpoint must hold for the training to continue bit for bit.

    `losses` has one float32 entry per step of the whole schedule, on the device; entries not yet reached are zero.
    `about` identifies the run: a checkpoint with another `about` is not used. `spent` is the time in seconds that
    earlier processes spent on the run, up to the checkpoint from which it continues. `start` is the position at which
    the run first began. `measure` returns the measures on the test set by name, and changes nothing.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    scaler: torch.amp.GradScaler
    losses: Tensor
    position: int
    about: str = ""
    spent: float = 0.0
    began: float = field(default_factory=clock.now)
    start: int = 0
    measure: Callable[[], Mapping[str, float]] | None = None

    @classmethod
    def begin(
        cls,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        *,
        precision: str,
        position: int,
        total: int,
        about: str = "",
    ) -> Run:
        """Begin a run at step `position` of a schedule of `total` steps.

        Raises TrainingError for more than MOST_STEPS steps, and if the device does not support the precision.
        """
        if total > MOST_STEPS:
            raise TrainingError(
                f"training.budget: {total:,} steps, more than the {MOST_STEPS:,} that a training may have"
            )
        device = next(model.parameters()).device
        if precision == "float16" and device.type != "cuda":
            raise TrainingError(f"precision float16 needs a CUDA device, got {device.type}; use bfloat16 or float32")
        return cls(
            model=model,
            optimizers=optimizers,
            scaler=torch.amp.GradScaler(device.type, enabled=precision == "float16"),
            losses=torch.zeros(total, device=device),
            position=position,
            start=position,
            about=about,
        )

    @property
    def device(self) -> torch.device:
        """The device that the run computes on."""
        return self.losses.device

    @property
    def seconds(self) -> float:
        """The time spent on the run so far, in seconds, with that of earlier processes."""
        return self.spent + clock.now() - self.began


def train(
    run: Run,
    batches: Iterator[tuple[Tensor, Tensor]],
    *,
    task: Task,
    training: TrainingSpec,
    optimizer: OptimizerSpec,
    streams: Streams,
    per_epoch: int,
    stop: int,
) -> Iterator[int]:
    """Train from step `run.position` to step `stop`; yields the position after each step.

    `batches` yields inputs and targets, such as images (N,C,H,W) float32 and labels (N,) int64, on the run's device;
    the first batch is that of step `run.position`. The loss is the mean of the task's loss over the batch. It stays
    on the device, in `run.losses`.
    """
    draws = streams if random_forward(run.model) else None
    parameters = [p for p in run.model.parameters() if p.requires_grad]
    total, safe, most = len(run.losses), sliced(run.model), training.clip
    dtype = PRECISION[training.precision]
    arithmetic = torch.autocast(run.device.type, dtype=dtype, enabled=dtype != torch.float32)
    clip = None if most is None else partial(nn.utils.clip_grad_norm_, max_norm=most)
    run.model.train()
    while run.position < stop:
        set_lr(run.optimizers, lr_factor(optimizer, run.position, per_epoch=per_epoch, total=total))
        inputs, targets = next(batches)
        seed = None if draws is None else draws.seed("forward", run.position)
        loss = partial(_loss, run, task, training.smoothing, arithmetic, inputs, targets, seed)
        run.losses[run.position] = update(parameters, run.optimizers, loss, scaler=run.scaler, safe=safe, clip=clip)
        run.position += 1
        yield run.position


def _loss(
    run: Run, task: Task, smoothing: float, within: torch.autocast, inputs: Tensor, targets: Tensor, seed: int | None
) -> Tensor:
    """The mean loss of a batch, computed in the context `within`; the forward pass draws from the run's seed."""
    with nullcontext() if seed is None else _draws(run.device, seed), within:
        return task.training_loss(run.model(inputs), targets, "mean", smoothing)


@contextmanager
def _draws(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators on the CPU and on this device, and restore them afterwards."""
    cuda = [device] if device.type == "cuda" else []
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if mps is not None:
            torch.mps.manual_seed(seed)
        yield
    if mps is not None:
        torch.mps.set_rng_state(mps)
