"""Checkpoints: all that a run needs to continue bit for bit, as safetensors and without code."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from oneticket.ground import disk
from oneticket.ground.errors import StoreError, tell
from oneticket.ticket import sealed
from oneticket.training.loop import Run


class Slot(Protocol):
    """A place for the checkpoint of one run. Its bytes are replaced as a whole or not at all."""

    @property
    def of(self) -> str:
        """The address of the step that the slot belongs to; empty if it belongs to no single step."""

    def read(self) -> bytes | None:
        """The bytes that were written last; None if there are none."""

    def write(self, data: bytes) -> None:
        """Replace the bytes. Raises StoreError if they cannot be written."""

    def set_aside(self, why: object) -> None:
        """Move a damaged checkpoint away, so that it is not read again, and warn (KeptWarning)."""


@dataclass(frozen=True)
class File:
    """A slot that is one file."""

    path: Path
    of: str = ""

    def read(self) -> bytes | None:
        """The file's content; None, with a warning, if the file cannot be read."""
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            tell(self.path, f"cannot be read: {error.strerror}", "the training is begun anew")
            return None

    def write(self, data: bytes) -> None:
        """Replace the file. Raises StoreError if the disk refuses."""
        try:
            disk.replace(self.path, data)
        except OSError as error:
            raise StoreError(f"cannot write the checkpoint {self.path}: {error.strerror}") from error

    def set_aside(self, why: object) -> None:
        """Rename the file to `*.damaged` and warn."""
        with contextlib.suppress(OSError):
            self.path.rename(self.path.with_name(f"{self.path.name}.damaged"))
        tell(self.path, why, "it is set aside, and the training begun anew")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The content of a checkpoint, copied to host memory, so that the run can continue meanwhile.

    `copied` is the CUDA event after which the copies are complete; None if they already are.
    """

    tensors: Mapping[str, Tensor]
    plain: Mapping[str, object]
    copied: torch.cuda.Event | None

    def write(self, slot: Slot) -> None:
        """Write it into the slot. Raises StoreError if the slot cannot be written."""
        if self.copied is not None:
            self.copied.synchronize()
        slot.write(sealed.encode(sealed.CHECKPOINT, slot.of, self.plain, self.tensors))


def snapshot(run: Run) -> Snapshot:
    """Copy the run's weights, buffers, optimizer and scaler state, losses, position and the seconds spent on it.

    The function does not wait for a CUDA device: the device makes the copies before it does any later work.
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
    # Shared storage (tied weights) is written once for each name: a checkpoint is temporary and must be simple.
    copies = {name: _copy(value.detach()) for name, value in tensors.items()}
    copied = torch.cuda.current_stream(run.device).record_event() if run.device.type == "cuda" else None
    return Snapshot(tensors=copies, plain=plain, copied=copied)


def save(slot: Slot, run: Run) -> None:
    """Write a checkpoint of the run and wait until it is written. Raises StoreError if the slot cannot be written."""
    snapshot(run).write(slot)


def load(slot: Slot, run: Run) -> bool:
    """Restore the run from its checkpoint; False, with the run unchanged, if there is no usable one.

    A checkpoint that is damaged, or that belongs to another step than the slot, is set aside with a KeptWarning.
    """
    data = slot.read()
    if data is None:
        return False
    try:
        head, tensors = sealed.decode(data, sealed.CHECKPOINT, slot.of)
        plain = head.record
        weights = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
        shapes = {name: value.shape for name, value in run.model.state_dict().items()}
        if plain.get("about") != run.about or {name: value.shape for name, value in weights.items()} != shapes:
            return False  # of another training, or of another form of the network
        position, spent = _place(plain, tensors, run)
        states = [_state(number, plain, tensors, one) for number, one in enumerate(run.optimizers)]
    except StoreError as error:
        slot.set_aside(error)
        return False
    run.model.load_state_dict(weights)
    for optimizer, state in zip(run.optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    run.scaler.load_state_dict(plain["scaler"])
    run.position, run.spent = position, spent
    with torch.no_grad():
        run.losses[: run.position] = tensors["losses"].to(run.device)
    return True


def _place(plain: Mapping[str, Any], tensors: Mapping[str, Tensor], run: Run) -> tuple[int, float]:
    """The position and the seconds spent. Raises StoreError for a position that the run cannot have had."""
    position, spent, losses = plain.get("position"), plain.get("spent"), tensors.get("losses")
    if type(position) is not int or not run.position <= position <= len(run.losses):
        raise StoreError(f"position: expected a step from {run.position} to {len(run.losses)}, got {position!r}")
    if not isinstance(spent, int | float) or not 0 <= spent < math.inf:
        raise StoreError(f"spent: expected seconds, got {spent!r}")
    if losses is None or losses.shape != (position,):
        raise StoreError(f"losses: expected one for each of {position} steps")
    if not isinstance(plain.get("scaler"), dict):
        raise StoreError(f"scaler: expected its state, got {plain.get('scaler')!r}")
    return position, float(spent)


def _state(
    number: int, plain: Mapping[str, Any], tensors: Mapping[str, Tensor], optimizer: Optimizer
) -> dict[int, dict[str, object]]:
    """One optimizer's state by the index of the parameter; moments get the memory layout of their parameters.

    Raises StoreError for a state that belongs to none of the parameters.
    """
    prefix, state = f"optimizer/{number}/", dict[int, dict[str, object]]()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    rest = plain.get(f"optimizer/{number}")
    if not isinstance(rest, dict):
        raise StoreError(f"optimizer/{number}: expected its state, got {rest!r}")
    for name, value in (found | rest).items():
        index, _, key = name.partition("/")
        if not key or not index.isdecimal() or int(index) >= len(parameters):
            raise StoreError(f"{prefix}{name}: it belongs to none of the {len(parameters)} parameters")
        like = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype, device="cpu").copy_(value)
        state.setdefault(int(index), {})[key] = value
    return state


def _copy(value: Tensor) -> Tensor:
    host = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda, device="cpu")
    return host.copy_(value, non_blocking=value.is_cuda)
