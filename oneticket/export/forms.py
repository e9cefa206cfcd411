"""Export: a trained network and its mask in a form to deploy, checked before it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from oneticket.compact.units import Stop
from oneticket.export.agreement import differs, tolerance
from oneticket.export.c import CForm, c_form, c_name, program_files
from oneticket.export.example import Example, outputs
from oneticket.export.network import Made, compacted, masked
from oneticket.export.onnx import missing, onnx_bytes
from oneticket.export.plain import plain
from oneticket.export.sizes import Dynamic
from oneticket.export.sparse import csr, packed, two_of_four
from oneticket.ground.brief import brief
from oneticket.ground.errors import ModelError, SpecError, unknown
from oneticket.ticket.container import write_all
from oneticket.ticket.mask import Mask

PROGRAM = (".so", ".bin")
"""Endings of files that a C program may have beside its source, or not."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export.

    - `form`: its name in FORMS.
    - `network`: the same computation in Python, a copy in evaluation mode.
    - `path`, `size`: the file, None if none was asked for, and the bytes of all files, written or not.
    - `files`: all files that were written; one for most forms.
    - `removed`: layer -> how many of its units were removed.
    - `stopped`: dead units that cannot be removed, with the layer that prevents it and why.
    - `note`: remarks, such as why a network was kept whole.
    - `tolerance`: how far its outputs may differ from the masked model's, relative to the larger of the largest and 1.
    - `c`: for the C form, its size and memory, and whether it was compiled.
    """

    form: str
    network: nn.Module = field(repr=False)
    path: Path | None
    size: int
    removed: Mapping[str, int]
    stopped: Sequence[Stop]
    note: str
    tolerance: float
    files: Sequence[Path] = ()
    c: CForm | None = None

    __repr__ = brief


def export(
    model: nn.Module,
    mask: Mask,
    *,
    to: str,
    out: str | os.PathLike[str] | None = None,
    example: Example,
    dynamic: Dynamic = (),
    build: bool = False,
    int8: bool = False,
) -> Exported:
    """Export a trained model under its mask to a form to deploy, and write it to `out` if given.

    - "dense": the state dict, pruned weights exactly zero (`.safetensors`).
    - "compact": without dead units: the state dict of the smaller network (`.safetensors`), or its program (`.onnx`).
    - "csr": linear layers as NAME.crow, NAME.col and NAME.values, as in `torch.sparse` (`.safetensors`).
    - "2:4": linear layers as NAME.weight.values and NAME.weight.meta (`sparse.packed`; `sparse.on_cuda` runs them).
    - "onnx": the masked network as a program for ONNX Runtime, for any size of batch (`.onnx`).
    - "c": the network without dead units as C99 without libraries, one input at a time (`.c`, with a header next to it
      and, above 300,000 weights, a file of values `.bin`).

    `example`: a batch as the model takes it (`example.Example`). `dynamic`: further axes of a program's inputs with
    open size, `[2, 3]` for height and width; or per input, `{"tokens": {1: "length"}}`. `build`: for C, also write a
    shared library for this machine (`.so`), which `CLibrary` calls. `int8`: for C, store weights in 8 bits; outputs
    then differ by more than rounding, by `Exported.c.error`.

    The model is not changed. Weights computed by `weight_norm`, `spectral_norm`, `torch.nn.utils.prune` or a
    parametrization become plain weights (`plain.plain`). Before anything is written, the new form's outputs are
    compared with the masked model's: they may differ by the rounding of the dtype (`agreement.allowed`, 1e-5 for
    float32). Raises PruneError if the mask does not fit the model or has no such form, SpecError for an unknown form,
    ending or axis, ModelError if the outputs differ, FileError if the disk refuses; then nothing is written.

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
    program = (path.suffix if path else form.endings[0]) == ".onnx"
    if dynamic and not program:
        raise SpecError(
            "dynamic: only an ONNX program can have open sizes; write a file that ends in .onnx, or leave dynamic out"
        )
    if (build or int8) and to != "c":
        raise SpecError(f"build and int8 belong to the form c, got the form {to}")
    if program and (lacking := missing()):
        raise ModelError(lacking)
    whole = plain(model, mask, example)
    made = form.make(whole.network, whole.mask, example)
    near = tolerance(whole.network, example)
    pruned = masked(whole.network, whole.mask).network
    if apart := differs(outputs(pruned, example), outputs(made.network, example), near=near):
        raise ModelError(f"{to}: compared with the masked model, {apart}{_infinite(pruned)}; nothing was written")
    written = c_form(made.network, example, stem=_stem(path), int8=int8) if to == "c" else None
    if written:
        files = program_files(written, build=build)
    else:
        data = onnx_bytes(made.network, example, dynamic=dynamic) if program else _file(form, made)
        files = {path.suffix if path else form.endings[0]: data}
    named = {path.with_suffix(ending): data for ending, data in files.items()} if path else {}
    stale = [path.with_suffix(ending) for ending in PROGRAM if ending not in files] if path and written else []
    older = [f"{one} is of an earlier export: remove it" for one in stale if one.exists()]
    write_all(named)
    return Exported(
        form=to,
        network=made.network,
        path=path,
        size=sum(map(len, files.values())),
        removed=dict(made.removed),
        stopped=tuple(made.stopped),
        note="; ".join(filter(None, (whole.note, made.note, *older))),
        tolerance=near,
        files=tuple(named),
        c=written,
    )


def _infinite(network: nn.Module) -> str:
    """Which weights are not finite, in words."""
    held = network.state_dict().items()
    found = [name for name, one in held if one.is_floating_point() and not bool(one.isfinite().all())]
    return f"; not finite: {', '.join(found[:3])}" + f" and {len(found) - 3} more" * (len(found) > 3) if found else ""


def _stem(path: Path | None) -> str:
    """The name of a C program, from its file's; raises SpecError for a name that C does not allow."""
    if path is None:
        return "network"
    if c_name(path.stem) != path.stem:
        raise SpecError(f"{path}: functions are named after the file, so C must take its name: {c_name(path.stem)}.c")
    return path.stem


def _file(form: _Form, made: Made) -> bytes:
    return save(_plain(form.tensors(made)), {"format": "pt"})


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies, each in memory of its own, as safetensors needs."""
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
    "c": _Form(make=compacted, endings=(".c",)),
}
"""Form -> how its network is made, what its file contains, and the endings of its files."""
