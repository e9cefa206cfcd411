"""Checkpoints: everything a run needs to go on to the same bits, as safetensors, without any code inside."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.optim import Optimizer

from oneticket.ground import canon, disk
from oneticket.ground.errors import StoreError
from oneticket.training.loop import Run


class Slot(Protocol):
    """Where one run keeps its checkpoint: some bytes, replaced whole or not at all."""

    def read(self) -> bytes | None:
        """What was written last; None if nothing was."""

    def write(self, data: bytes) -> None:
        """Keep these instead; StoreError if the place refuses."""


@dataclass(frozen=True)
class File:
    """A slot that is one file."""

    path: Path

    def read(self) -> bytes | None:
        """The file's content, if it can be read."""
        with contextlib.suppress(OSError):
            return self.path.read_bytes()
        return None

    def write(self, data: bytes) -> None:
        """Replace the file."""
        try:
            disk.replace(self.path, data)
        except OSError as error:
            raise StoreError(f"cannot write the checkpoint {self.path}: {error.strerror}") from error


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a checkpoint holds, in host memory, apart from the run, which may go on; `copied`: when all is there."""

    tensors: Mapping[str, Tensor]
    plain: Mapping[str, object]
    copied: torch.cuda.Event | None

    def write(self, slot: Slot) -> None:
        """Put it into the slot; raises StoreError when the slot refuses."""
        if self.copied is not None:
            self.copied.synchronize()
        slot.write(to_bytes(dict(self.tensors), {"run": canon.dumps(self.plain)}))


def snapshot(run: Run) -> Snapshot:
    """Copy the run's weights, buffers, optimizer and scaler state, losses, position and the seconds spent on it.

    A CUDA device is not waited for: what it does later is later to the copies, too.
    """
    tensors: dict[str, Tensor] = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    tensors["losses"] = run.losses[: run.position]
    plain: dict[str, object] = {"about": run.about, "position": run.position, "spent": run.seconds}
    plain["scaler"] = run.scaler.state_dict()
    for number, optimizer in enumerate(run.optimizers):
        rest = {}
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{number}/{index}/{key}"] = value
                else:
                    rest[f"{index}/{key}"] = value
        plain[f"optimizer/{number}"] = rest
    # Shared storage (tied weights) is written out for each name: a checkpoint is short-lived and must be simple.
    copies = {name: _copy(value.detach()) for name, value in tensors.items()}
    copied = torch.cuda.current_stream(run.device).record_event() if run.device.type == "cuda" else None
    return Snapshot(tensors=copies, plain=plain, copied=copied)


def save(slot: Slot, run: Run) -> None:
    """Write where the run stands, and wait until it is written; raises StoreError when the slot refuses."""
    snapshot(run).write(slot)


def load(slot: Slot, run: Run) -> bool:
    """Bring the run to where its checkpoint stands; False, with the run untouched, if there is no usable one."""
    data = slot.read()
    if data is None:
        return False
    try:
        tensors = from_bytes(data)
        plain = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["run"])
        if plain["about"] != run.about:
            return False
        states = [_state(number, plain, tensors, one) for number, one in enumerate(run.optimizers)]
    except (SafetensorError, LookupError, TypeError, ValueError):
        return False
    weights = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in run.model.state_dict().items()}:
        return False
    run.model.load_state_dict(weights)
    for optimizer, state in zip(run.optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    run.scaler.load_state_dict(plain["scaler"])
    run.position, run.spent = int(plain["position"]), float(plain.get("spent", 0.0))
    with torch.no_grad():
        run.losses[: run.position] = tensors["losses"].to(run.device)
    return True


def _state(
    number: int, plain: dict[str, Any], tensors: dict[str, Tensor], optimizer: Optimizer
) -> dict[int, dict[str, object]]:
    """One optimizer's state, by the index of the parameter; moments lie in memory as their parameters do."""
    prefix, state = f"optimizer/{number}/", dict[int, dict[str, object]]()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    for name, value in (found | plain[f"optimizer/{number}"]).items():
        index, key = name.split("/", 1)
        like = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype, device="cpu").copy_(value)
        state.setdefault(int(index), {})[key] = value
    return state


def _copy(value: Tensor) -> Tensor:
    host = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
    return host.copy_(value, non_blocking=value.is_cuda)
