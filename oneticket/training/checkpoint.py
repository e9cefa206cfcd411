"""Checkpoints: everything a run needs to go on to the same bits, as safetensors, without any code inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from oneticket.ground import canon, disk
from oneticket.ground.errors import StoreError
from oneticket.training.loop import Run


def save(path: Path, run: Run) -> None:
    """Write the run's weights, buffers, optimizer and scaler state, losses and position; whole or not at all.

    Raises StoreError when the disk refuses.
    """
    tensors: dict[str, Tensor] = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    tensors["losses"] = run.losses[: run.position]
    plain: dict[str, object] = {"about": run.about, "position": run.position, "scaler": run.scaler.state_dict()}
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
    whole = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    try:
        disk.replace(path, to_bytes(whole, {"run": canon.dumps(plain)}))
    except OSError as error:
        raise StoreError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def load(path: Path, run: Run) -> bool:
    """Bring the run to where its checkpoint stands; False, with the run untouched, if there is no usable one."""
    try:
        with safe_open(path, "pt") as file:
            plain = json.loads(file.metadata()["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if plain["about"] != run.about:
            return False
        states = [_state(number, plain, tensors) for number in range(len(run.optimizers))]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return False
    weights = {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in run.model.state_dict().items()}:
        return False
    run.model.load_state_dict(weights)
    for optimizer, state in zip(run.optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    run.scaler.load_state_dict(plain["scaler"])
    run.position = int(plain["position"])
    with torch.no_grad():
        run.losses[: run.position] = tensors["losses"].to(run.device)
    return True


def _state(number: int, plain: dict[str, Any], tensors: dict[str, Tensor]) -> dict[int, dict[str, object]]:
    """One optimizer's state, by the index of the parameter."""
    prefix, state = f"optimizer/{number}/", dict[int, dict[str, object]]()
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    for name, value in (found | plain[f"optimizer/{number}"]).items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    return state
