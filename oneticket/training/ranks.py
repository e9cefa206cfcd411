"""Ranks: one training over several devices, each with its share of every batch, by DistributedDataParallel.

The ranks average their gradients during the backward pass. After every step they share the loss and whether one of
them was asked to stop. The result differs from that of one rank in two ways: numbers are added in another order, and
each rank draws random numbers (Dropout) for its own share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from oneticket.ground.errors import GuardError, OneticketError, TrainingError
from oneticket.training.loop import Run


def spread(model: nn.Module, *, mask: str, about: str) -> nn.Module:
    """The model as one of several ranks. Its parameters stay the same objects; their names begin with `module.`.

    `mask` is the digest of the mask, and `about` that of everything else that the training starts from. Batch
    normalisation uses the statistics of the whole batch, which torch can do on CUDA only.

    Raises GuardError if the masks of the ranks differ. Raises TrainingError if anything else differs, and for batch
    normalisation on another device than CUDA.
    """
    device = next(model.parameters()).device
    same("mask", mask, device, GuardError)
    same("data, settings or weights", about, device, TrainingError)
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        if device.type != "cuda":
            raise TrainingError(
                f"batch normalisation over several ranks needs CUDA, got {device.type}: each rank would take the "
                "statistics of its own share of the batch; use --ranks 1, or a network without it"
            )
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)


def same(what: str, digest: str, device: torch.device, error: type[OneticketError]) -> None:
    """Compare a hexadecimal digest over all ranks. Raises `error` with the ranks that differ from the majority."""
    mine = torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8, device=device)
    gathered = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, mine)
    found = [bytes(each.tolist()).hex() for each in gathered]
    most = Counter(found).most_common(1)[0][0]
    others = [f"rank {rank} ({each[:12]})" for rank, each in enumerate(found) if each != most]
    if others:
        raise error(f"ranks differ in their {what}: most have {most[:12]}, but not {', '.join(others)}")


class Agreement:
    """A watcher that keeps ranks together: the loss of a step becomes the mean over all ranks, and all stop together.

    Every `every` steps it waits for the device, to learn whether a rank was asked to stop.
    """

    def __init__(self, stop: Callable[[], bool], *, every: int) -> None:
        self._stop, self._every = stop, every
        self._agreed = False

    def __call__(self, run: Run) -> None:
        at = run.position - 1
        shared = torch.stack([run.losses[at], _flag(self._stop(), run.losses)])
        dist.all_reduce(shared)
        run.losses[at] = shared[0] / dist.get_world_size()
        if run.position % self._every == 0:
            self._agreed = bool(shared[1] > 0)

    def stop(self) -> bool:
        """Whether all ranks must stop after this step."""
        return self._agreed


def _flag(asked: bool, like: Tensor) -> Tensor:
    return torch.full((), float(asked), dtype=like.dtype, device=like.device)
