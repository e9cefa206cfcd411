"""Tickets from other tools: pruned torch models, masks with weights, OpenLTH's files, zeros in a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from oneticket.ground.errors import (
    FileError,
    OneticketError,
    RequestError,
    WrongFileError,
    WrongPruneError,
    unknown,
)
from oneticket.integrations import open_lth
from oneticket.integrations.checkpoint import Checkpoint, agreed, check_key
from oneticket.integrations.foreign import read_checkpoint
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.ticket import Ticket

Tensors = Mapping[str, Tensor]
GIVEN = Contract(rewind="0it", step=0, schedule="caller", order="caller")
"""These weights as they are given; how the loop that found them went on is not known."""


def from_torch_prune(source: nn.Module | Tensors, *, contract: Contract = GIVEN) -> Ticket:
    """The ticket of a model that `torch.nn.utils.prune` pruned, or of its state dict: NAME_orig under NAME_mask.

    Of a model, masks of parametrizations (`torch.ao.pruning`) are taken too. The model is left as it is. Raises
    PruneError if nothing is pruned so, or a mask is not of zeros and ones.

    >>> from torch.nn.utils import prune
    >>> ticket = from_torch_prune(prune.l1_unstructured(nn.Linear(4, 2), "weight", amount=0.5))
    >>> ticket.mask, sorted(ticket.weights)
    (Mask(1 tensors, 4 of 8 weights remain, density 0.5), ['bias', 'weight'])
    """
    tensors = _parametrized(source) if isinstance(source, nn.Module) else dict(source)
    masks: dict[str, Tensor] = {}
    for name in [name for name in tensors if name.endswith("_orig") and name[:-5] + "_mask" in tensors]:
        whole = name.removesuffix("_orig")
        if whole in tensors:
            raise WrongPruneError(
                f"found both {whole!r} and {name!r}, but a weight has one of these names; remove the other tensor"
            )
        tensors[whole], masks[whole] = tensors.pop(name), tensors.pop(whole + "_mask")
    if not masks:
        raise WrongPruneError(
            f"no NAME_orig with its NAME_mask, as torch.nn.utils.prune has; there are {listed(tensors)}"
        )
    return from_masks(masks, tensors, contract=contract, origin="torch-prune")


def from_masks(masks: Tensors, weights: Tensors, *, contract: Contract = GIVEN, origin: str = "masks") -> Ticket:
    """The ticket of masks by the weights' names: bools, or zeros and ones (floats or integers).

    `weights`: a state dict; `origin`: their source, for the lineage. Raises PruneError, with the name, for any other
    value, and if masks and weights do not fit.

    >>> weights = {"fc.weight": torch.ones(1, 2), "fc.bias": torch.zeros(1)}
    >>> from_masks({"fc.weight": torch.tensor([[0.0, 1.0]])}, weights).weights["fc.weight"]
    tensor([[0., 1.]])
    """
    if not masks:
        raise WrongPruneError("expected masks by name, got none")
    remaining = Mask({name: _as_bool(name, mask) for name, mask in masks.items()})
    return _ticket(remaining, weights, contract, {"from": origin, "inferred": False})


def from_zeros(weights: nn.Module | Tensors, *, contract: Contract = GIVEN) -> Ticket:
    """The ticket of a checkpoint whose pruned weights are exact zeros: what is zero counts as pruned.

    That is inferred, which the lineage states: a weight may be zero by chance. Only tensors of two and more dimensions
    count. One without zeros stays dense, and so does one of zeros only, since it may be untrained; the lineage names
    it. Raises PruneError if nothing has zeros.

    >>> ticket = from_zeros({"fc.weight": torch.tensor([[0.0, 2.0]]), "new.weight": torch.zeros(1, 1)})
    >>> ticket.mask.density, ticket.lineage["imported"]
    (0.5, {'all_zero': ['new.weight'], 'from': 'zeros', 'inferred': True})
    """
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    _check_tensors(tensors)
    looked = {name: tensor != 0 for name, tensor in tensors.items() if tensor.dim() > 1 and tensor.is_floating_point()}
    some = {name: remaining for name, remaining in looked.items() if remaining.any() and not remaining.all()}
    if not some:
        raise WrongPruneError(
            f"no weight is partly zero, so nothing says what was pruned; looked at {listed(looked)}. Hand over the "
            "masks, or the checkpoint as it is after pruning was made permanent"
        )
    empty = sorted(name for name, remaining in looked.items() if remaining.numel() and not remaining.any())
    return _ticket(Mask(some), tensors, contract, {"from": "zeros", "inferred": True, "all_zero": empty})


def read_ticket(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    format: str = "auto",
    key: str | None = None,
    step: int | None = None,
    head: tuple[str, ...] = (),
) -> Ticket:
    """The ticket of another tool's file (`.safetensors`, `.npz`, `.pth`), with the weights of a second file if given.

    - `format`: a name of FORMATS, or "auto": "torch-prune" if the file has NAME_orig and NAME_mask, "open-lth" for a
      `mask.pth` (its weights are by default the earliest `model_ep*_it*.pth` next to it) or the state dict of its
      pruned model, "masks" if weights are given, else "zeros".
    - `key`: in checkpoints with more than a state dict, the entry to read (`checkpoint.checkpoint`).
    - `step`: the optimizer step of the weights. OpenLTH's names contain it, `model_ep0_it50.pth` is step 50; if they
      count epochs it must be given. Otherwise it is 0 by default, which the lineage marks as "assumed".
    - `head`: names of the output layer's parameters.

    Raises FileError for a file that cannot be read or holds something else, and for a missing step.
    """
    if format != "auto" and format not in FORMATS:
        raise WrongFileError(unknown("format", format, ["auto", *FORMATS]))
    source = read_checkpoint(path, key=key)
    kind = _kind(Path(path), source.tensors, weights is not None) if format == "auto" else format
    try:
        weights = _second(Path(path), kind, source.tensors, weights)
        second = Checkpoint(tensors={}) if weights is None else read_checkpoint(weights, key=key)
        check_key(key, source, second)
        rewind, at, how = _rewind(Path(path if weights is None else weights), kind, step)
        contract = replace(GIVEN, rewind=rewind, step=at, head=head)
        ticket = FORMATS[kind](source.tensors, second.tensors, contract)
    except OneticketError as error:
        sort = WrongFileError if isinstance(error, RequestError) else FileError
        raise sort(f"{path}: read as {kind}: {error}") from None
    read = {name: str(one) for name, one in (("file", source), ("weights", second)) if str(one)}
    imported = ticket.lineage["imported"] | {"step": how} | ({"read": read} if read else {})
    return replace(ticket, lineage={**ticket.lineage, "imported": imported})


def _second(
    path: Path, kind: str, tensors: Tensors, weights: str | os.PathLike[str] | None
) -> str | os.PathLike[str] | None:
    """The file of the weights that masks belong to; None for a file that has its own."""
    alone = kind in ("torch-prune", "zeros") or (kind == "open-lth" and bool(open_lth.parts(tensors)[0]))
    if alone and weights is not None:
        raise WrongFileError("it has its own weights; leave the second file out")
    if kind == "open-lth" and not alone and weights is None:
        return open_lth.rewound(path)
    if not alone and weights is None:
        raise WrongFileError("holds masks; give the file of the weights that they belong to (`--weights`)")
    return weights


def _rewind(weights: Path, kind: str, step: int | None) -> tuple[str, int, str]:
    """The rewind point, in words and as a step, and how it is known."""
    if (at := open_lth.point(weights)) is not None:
        return *open_lth.rewind(at, step, whose=weights.name), "given" if at.epoch else "file name"
    if kind == "open-lth" and step is None:
        raise WrongFileError(
            f"{weights.name}: the name does not say the step that its weights are of; give it, `--step`"
        )
    return f"{step or 0}it", step or 0, "assumed" if step is None else "given"


def _kind(path: Path, tensors: Tensors, weights: bool) -> str:
    if any(name.endswith("_orig") and name[:-5] + "_mask" in tensors for name in tensors):
        return "torch-prune"
    if path.name == open_lth.MASK or open_lth.parts(tensors)[0]:
        return "open-lth"
    masks = bool(tensors) and all(((mask == 0) | (mask == 1)).all() for mask in tensors.values())
    return "masks" if weights or masks else "zeros"


def _parametrized(model: nn.Module) -> dict[str, Tensor]:
    """The state dict, with parametrized weights that have a mask named as torch.nn.utils.prune names them."""
    tensors = dict(model.state_dict())
    for path, module in model.named_modules():
        for last, steps in module.parametrizations.items() if is_parametrized(module) else ():
            steps_masks = [step.mask for step in steps if isinstance(getattr(step, "mask", None), Tensor)]
            if len(steps_masks) == 1:
                start = f"{path}." if path else ""
                inner = f"{start}parametrizations.{last}."
                tensors[f"{start}{last}_orig"] = tensors[f"{inner}original"]
                tensors[f"{start}{last}_mask"] = steps_masks[0]
                tensors = {name: value for name, value in tensors.items() if not name.startswith(inner)}
    return tensors


def _as_bool(name: str, mask: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.layout != torch.strided or mask.is_complex():
        raise WrongPruneError(f"mask {name!r}: expected truth values, or zeros and ones, got {type(mask).__name__}")
    strange = mask[(mask != 0) & (mask != 1)]
    if strange.numel():
        raise WrongPruneError(f"mask {name!r}: expected zeros and ones, got {strange[0].item()}")
    return mask != 0


def _check_tensors(tensors: Tensors) -> None:
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise WrongPruneError("weights: expected a state dict, a mapping from name to tensor")


def _ticket(mask: Mask, weights: Tensors, contract: Contract, imported: dict[str, Any]) -> Ticket:
    _check_tensors(weights)
    return Ticket(mask=mask, weights=weights, contract=contract, lineage={"imported": imported})


FORMATS: dict[str, Callable[[Tensors, Tensors, Contract], Ticket]] = {
    "torch-prune": lambda tensors, _, contract: from_torch_prune(tensors, contract=contract),
    "masks": lambda masks, weights, contract: from_masks(*agreed(masks, weights), contract=contract),
    "open-lth": lambda masks, weights, contract: from_masks(
        *(agreed(masks, weights) if weights else open_lth.parts(masks)), contract=contract, origin="open-lth"
    ),
    "zeros": lambda weights, _, contract: from_zeros(weights, contract=contract),
}
"""How a file's tensors, and those of a second one, are read."""
