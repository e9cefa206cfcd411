"""Writing values into a model's tensors: every one is checked before the first is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from oneticket.ground.errors import WrongTransferError
from oneticket.ticket import shards


def write(values: Mapping[str, Tensor], targets: Mapping[str, Tensor], mask: Mapping[str, Tensor]) -> None:
    """Write each value into the target of its name, in place, in the target's dtype, on its device.

    Tied targets are one tensor and get one value; where the mask holds one of their names, its value is meant. Raises
    TransferError that names every misfit, with nothing written.

    >>> target = torch.zeros(2, dtype=torch.float16)
    >>> write({"w": torch.tensor([1.0, 2.0])}, {"w": target}, {})
    >>> target.tolist()
    [1.0, 2.0]
    >>> write({"w": torch.tensor([1.0, 1e6])}, {"w": target}, {})
    Traceback (most recent call last):
    oneticket.ground.errors.WrongTransferError: ticket and model do not fit, nothing was written:
    w: values of the ticket's torch.float32 are too large for the model's torch.float16
    """
    meant: dict[int, str] = {}
    lies: dict[tuple[torch.device, int], str] = {}
    wrong = []
    for name in sorted(values, key=lambda name: (name not in mask, name)):
        value, target = values[name], targets[name]
        first = meant.setdefault(id(target), name)
        problem = _problem(value, target) or _untied(name, first, values, mask)
        if not problem and name == first and (at := shards.local(target).data_ptr()):
            other = lies.setdefault((target.device, at), name)
            if other != name:
                problem = f"shares the memory of {other}, but is another tensor: make them one, or give each its own"
        if problem:
            wrong.append(f"{name}: {problem}")
    if wrong:
        more = f"\nand {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise WrongTransferError(
            "ticket and model do not fit, nothing was written:\n"
            + "\n".join(sorted(wrong)[:8])
            + more
            + _remedy(wrong, values, targets)
        )
    for name in meant.values():
        shards.write(targets[name], values[name])


def _problem(value: Tensor, target: Tensor) -> str:
    if is_lazy(target) or target.is_meta:
        return "the model's tensor has no values yet; materialise it first"
    if target.shape != value.shape:
        return f"ticket {tuple(value.shape)}, model {tuple(target.shape)}"
    if target.is_floating_point() != value.is_floating_point() or target.is_complex() or target.is_quantized:
        return f"ticket {value.dtype}, model {target.dtype}"
    if target.layout != torch.strided or shards.overlaps(target):
        return f"the model's tensor ({target.layout}) is not one that can be written entry by entry; make it dense"
    if target.is_inference() and not torch.is_inference_mode_enabled():
        return "the model's tensor was made in inference mode and cannot be written; build the model outside it"
    if not _holds(value, target.dtype):
        return f"values of the ticket's {value.dtype} are too large for the model's {target.dtype}"
    return shards.refusal(target)


def _remedy(wrong: Collection[str], values: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> str:
    """The line that leaves what has another shape as it is in the model, if that is all that is wrong."""
    fit = {
        name: not is_lazy(target) and target.shape == values[name].shape
        for name in values
        for target in [targets[name]]
    }
    other = sorted(name for name in values if not fit[name])
    if len(other) < len(wrong) or len(other) == len(values):
        return ""
    return f"\nto leave the model's own there, give fresh={tuple(other)!r} to apply and to attach"


def _untied(name: str, first: str, values: Mapping[str, Tensor], mask: Mapping[str, Tensor]) -> str:
    value = values[name]
    if name == first or torch.equal(value, values[first]):
        return ""
    if first in mask and name not in mask and torch.equal(torch.where(mask[first], value, 0), values[first]):
        return ""
    return f"tied to {first} in the model, but the ticket has other values for it"


def _holds(value: Tensor, dtype: torch.dtype) -> bool:
    """Whether values stay finite in that dtype, whole numbers what they are."""
    if value.dtype == dtype:
        return True
    cast = value.to(dtype)
    return bool(cast.float().isfinite().all()) if dtype.is_floating_point else torch.equal(cast.to(value.dtype), value)
