"""The store: outcomes by address. An outcome is there when its one file is; provenance lies beside it."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from oneticket.ground import canon, clock, disk
from oneticket.ground.errors import StoreError
from oneticket.study.step import Outcome, Step
from oneticket.ticket.values import fingerprint


class Store:
    """A folder of outcomes. Two processes may share it: the same step leaves the same bytes.

    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()))
    >>> step = Step(kind="rewind", args={"seed": 0})
    >>> store.put(step, Outcome(record={"a": 1}, tensors={}), seconds=0.1, device="cpu")
    >>> store.get(step).record
    {'a': 1}
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, step: Step) -> bool:
        """Whether the step's outcome is there and can be opened; one cut short counts as absent and is made anew."""
        if not self._file(step).exists():
            return False
        try:
            self.record(step)
        except StoreError:
            return False
        return True

    def get(self, step: Step) -> Outcome:
        """Read an outcome back and check it; StoreError if it is missing or damaged."""
        file = self._file(step)
        try:
            with safe_open(file, "pt") as opened:
                plain = json.loads(opened.metadata()["outcome"])
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            good = plain["digest"] == _digest(plain["record"], tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{file} cannot be read ({error}); remove it and run again") from error
        if not good:
            raise StoreError(f"{file} is damaged: its content has another digest than it says; remove it and run again")
        return Outcome(record=plain["record"], tensors=tensors)

    def record(self, step: Step) -> Mapping[str, Any]:
        """The outcome's record alone, read without its tensors and so not checked against its digest."""
        file = self._file(step)
        try:
            with safe_open(file, "pt") as opened:
                read: Mapping[str, Any] = json.loads(opened.metadata()["outcome"])["record"]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{file} cannot be read ({error}); remove it and run again") from error
        return read

    def put(self, step: Step, outcome: Outcome, *, seconds: float, device: str) -> None:
        """Keep an outcome, its provenance first; StoreError, with nothing half-written, if the disk refuses."""
        tensors = {name: value.contiguous() for name, value in outcome.tensors.items()}
        plain = {"record": dict(outcome.record), "digest": _digest(outcome.record, tensors)}
        provenance = {
            "kind": step.kind,
            "args": dict(step.args),
            "needs": [need.key for need in step.needs],
            "seconds": seconds,
            "device": device,
            "date": clock.date(),
            "host": platform.node(),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
        }
        try:
            disk.replace(self._provenance(step), json.dumps(provenance, indent=1).encode())
            disk.replace(self._file(step), to_bytes(tensors, {"outcome": canon.dumps(plain)}))
        except OSError as error:
            raise StoreError(f"cannot write to the store {self.root}: {error.strerror}") from error
        with contextlib.suppress(OSError):
            for left in (checkpoint := self.checkpoint(step)).parent.glob(f"*{checkpoint.name}*"):
                left.unlink()  # the checkpoint, and what a kill in the middle of writing it left

    def provenance(self, step: Step) -> Mapping[str, Any]:
        """When, where and how long the step ran; empty if that was lost."""
        try:
            read: Mapping[str, Any] = json.loads(self._provenance(step).read_bytes())
        except (OSError, ValueError):
            return {}
        return read

    def checkpoint(self, step: Step) -> Path:
        """Where a step under way keeps its checkpoint."""
        return self.root / "under-way" / f"{step.key}.safetensors"

    def _file(self, step: Step) -> Path:
        return self.root / step.key[:2] / f"{step.key}.safetensors"

    def _provenance(self, step: Step) -> Path:
        return self._file(step).with_suffix(".json")


def _digest(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    return canon.digest([dict(record), fingerprint(tensors)])
