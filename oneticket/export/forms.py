"""Export: a trained network and its mask into a form to deploy, checked before it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from oneticket.export.network import Example, Made, compacted, differs, masked, outputs
from oneticket.export.onnx import missing, onnx_bytes
from oneticket.export.sparse import csr, packed, two_of_four
from oneticket.ground.errors import ModelError, SpecError, unknown
from oneticket.ticket.container import write
from oneticket.ticket.mask import Mask


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was exported.

    - `form`: its name in FORMS.
    - `network`: what computes so in Python, a copy in evaluation mode.
    - `path`, `size`: the file and its bytes; None and 0 if none was asked for.
    - `removed`: per layer, how many of its units went.
    - `note`: what else is to be told, such as why a network was kept whole.
    """

    form: str
    network: nn.Module = field(repr=False)
    path: Path | None
    size: int
    removed: Mapping[str, int]
    note: str


def export(
    model: nn.Module, mask: Mask, *, to: str, out: str | os.PathLike[str] | None = None, example: Example
) -> Exported:
    """Bring a trained model under its mask into a form to deploy, and write it to `out` if given.

    - "dense": the state dict, pruned weights exactly zero (`.safetensors`).
    - "compact": without the units that cannot reach the output: the state dict of the smaller network
      (`.safetensors`), or the program that runs it (`.onnx`).
    - "csr": linear layers as NAME.crow, NAME.col and NAME.values, as `torch.sparse` has them (`.safetensors`).
    - "2:4": linear layers as NAME.weight.values and NAME.weight.meta (`sparse.packed`; `sparse.on_cuda` runs them).
    - "onnx": the masked network as a program that ONNX Runtime runs, for any size of batch (`.onnx`).

    `example`: a batch as the model takes it. The model is left as it is. The new form's outputs are compared with the
    masked model's before anything is written: they lie within 1e-5, of the largest or of 1. Raises PruneError if the
    mask does not fit the model or has no such form, SpecError for an unknown form or ending, ModelError if the outputs
    differ, FileError if the disk refuses; then nothing is written.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> mask = Mask({"2.weight": torch.tensor([[True, False, True]])})
    >>> export(net, mask, to="compact", example=torch.zeros(4, 2)).removed
    {'0': 1}
    """
    if to not in FORMS:
        raise SpecError(unknown("form", to, FORMS))
    form = FORMS[to]
    path = None if out is None else Path(out)
    if path is not None and path.suffix not in form.endings:
        raise SpecError(f"{path}: the form {to} is written as {' or '.join(form.endings)}, got {path.suffix!r}")
    if path is not None and path.suffix == ".onnx" and (lacking := missing()):
        raise ModelError(lacking)
    made = form.make(model, mask, example)
    if apart := differs(outputs(masked(model, mask).network, example), outputs(made.network, example)):
        raise ModelError(f"{to}: {apart} from those of the masked model; nothing was written")
    size = 0
    if path is not None:
        program = path.suffix == ".onnx"
        data = onnx_bytes(made.network, example) if program else save(_plain(form.tensors(made)), {"format": "pt"})
        write(path, data)
        size = len(data)
    return Exported(form=to, network=made.network, path=path, size=size, removed=dict(made.removed), note=made.note)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies, each in memory of its own, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}


def _state(made: Made) -> dict[str, Tensor]:
    return dict(made.network.state_dict())


@dataclass(frozen=True, kw_only=True)
class _Form:
    make: Callable[[nn.Module, Mask, Example], Made]
    tensors: Callable[[Made], dict[str, Tensor]] = _state
    endings: tuple[str, ...] = (".safetensors",)


FORMS: dict[str, _Form] = {
    "dense": _Form(make=lambda model, mask, _: masked(model, mask)),
    "compact": _Form(make=compacted, endings=(".safetensors", ".onnx")),
    "csr": _Form(make=lambda model, mask, _: csr(model, mask)),
    "2:4": _Form(
        make=lambda model, mask, _: two_of_four(model, mask), tensors=lambda made: packed(made.network, made.mask)
    ),
    "onnx": _Form(make=lambda model, mask, _: masked(model, mask), endings=(".onnx",)),
}
"""Form -> how its network is made, what of it goes into a file, and the endings of files that can hold it."""
