"""The training loop: a generator that yields once per optimizer step, after the guard has projected.

The caller may look, save or stop between two steps; nothing it does there can change the resulting weights. Positions
are absolute on the schedule, so a rewound or resumed run continues where it stands.
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
    """A training under way: what a checkpoint must hold for it to go on to the same bits.

    `losses` has one float32 entry per step of the whole schedule, on the device; entries not yet reached are zero.
    `about` says what the run is a run of: a checkpoint of another is not its own. `spent`: the seconds that earlier
    processes spent on it, up to the checkpoint that it goes on from. `start`: the position at which it began, ever.
    `measure`: gives the measures on the test set by name, as the network stands; it changes nothing.
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
        """A run at `position` of a schedule of `total` steps.

        Raises TrainingError for more than MOST_STEPS, and if the device lacks the precision.
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
        """Where the run computes."""
        return self.losses.device

    @property
    def seconds(self) -> float:
        """How long it took so far, earlier processes included."""
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
    """Train from `run.position` to `stop`, yielding the number of steps done after each.

    `batches` yields inputs and targets, such as images (N,C,H,W) float32 and labels (N,) int64, from `run.position` on,
    on the run's device. The loss is the task's, as a mean; it stays on the device, in `run.losses`.
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
    """The mean loss of a batch, computed `within` an arithmetic; what the forward pass draws comes from the seed."""
    with nullcontext() if seed is None else _draws(run.device, seed), within:
        return task.training_loss(run.model(inputs), targets, "mean", smoothing)


@contextmanager
def _draws(device: torch.device, seed: int) -> Iterator[None]:
    """Torch's global generators, seeded on the CPU and on this device, and put back after."""
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
