"""The C form of a network: its program, compared with torch before it is returned."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from oneticket.export.agreement import differs, tolerance
from oneticket.export.c.int8 import int8 as rounded
from oneticket.export.c.layers import Conv, Network, Weighted
from oneticket.export.c.library import OTHER, CLibrary, code_bytes, compiled, compiler, texts
from oneticket.export.c.lower import lower
from oneticket.export.c.writer import EMBEDDED, Program, write
from oneticket.export.example import Example, batch, leaves, outputs
from oneticket.ground import disk
from oneticket.ground.brief import brief
from oneticket.ground.errors import FileError, ModelError

NOISE = 3
"""Rows of noise that a program is compared on, beside the example."""


@dataclass(frozen=True, kw_only=True)
class CForm:
    """A network as a C program, with its size and memory.

    - `program`: its texts; `network`: the list of layers that it was written from.
    - `library`: the compiled program, None without a compiler: then the C text itself was not checked.
    - `built`: the shared library's bytes, for this machine; empty without a compiler.
    - `data`: bytes of tables.
    - `ram`: bytes of input, output and scratch memory, and of the values if they are in a file of their own.
    - `error`: for int8 weights, the largest difference from the outputs of float32 weights, over the largest; else 0.
    - `same`: for int8 weights, the share of the example's rows with the same largest output; else 1.
    - `rows`: the number of the example's rows, on which both are measured.
    """

    program: Program = field(repr=False)
    network: Network = field(repr=False)
    library: CLibrary | None
    built: bytes = field(repr=False)
    data: int
    ram: int
    error: float
    same: float
    rows: int

    __repr__ = brief

    @cached_property
    def code(self) -> int | None:
        """Bytes of instructions, compiled for size here; None where unknown."""
        return code_bytes(self.program)

    @property
    def madds(self) -> int:
        """Multiply-adds of one input: remaining weights, times the positions of a convolution."""
        weighted = (layer for layer in self.network.layers if isinstance(layer, Weighted))
        return sum(
            int(layer.weight.count_nonzero()) * (math.prod(layer.shape[1:]) if isinstance(layer, Conv) else 1)
            for layer in weighted
        )


def c_form(
    network: nn.Module, example: Example, *, stem: str = "network", int8: bool = False, embedded: int = EMBEDDED
) -> CForm:
    """The C form of a network in evaluation mode; `int8`: its weights in 8 bits.

    The layers as torch computes them, and the compiled program if there is a compiler, are compared with the network on
    the example and on three rows of noise, since an example may be blank. Raises ModelError for a difference beyond
    rounding, and for layers without a C form (`lower`).

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).eval()
    >>> made = c_form(net, torch.ones(4, 2))
    >>> made.program.floats, made.ram, made.madds
    ((2, 1, 3), 24, 9)
    """
    layers, near = lower(network, example), tolerance(network, example)
    inputs, wanted = list[Tensor](), list[Tensor]()
    for each in (example, batch(example, NOISE)):
        inputs.append(leaves(each)[0].detach().cpu())
        want = outputs(network, each)
        wanted.append(want[0].cpu())
        if apart := differs(want, [layers.compute(inputs[-1])], near=near):
            raise ModelError(
                f"c: the list of layers does not compute what the network does: {apart}; nothing was written"
            )
    error, same = 0.0, 1.0
    if int8:
        layers, whole = rounded(layers), wanted[0]
        wanted = [layers.compute(x) for x in inputs]
        error = float((wanted[0] - whole).abs().max()) / max(float(whole.abs().max()), 1e-30)
        same = float((_largest(wanted[0]) == _largest(whole)).float().mean())
    program = write(layers, stem, embedded=embedded)
    built, library = b"", None
    if compiler():
        built = compiled(program)
        library = opened(program, built, layers.shape)
        for x, expected in zip(inputs, wanted, strict=True):
            if apart := differs([expected], [library(x)], near=near):
                raise ModelError(
                    f"c: the compiled program does not compute what torch does: {apart}; nothing was written"
                )
    return CForm(
        program=program,
        network=layers,
        library=library,
        built=built,
        data=len(program.tables),
        ram=4 * sum(program.floats) + len(program.values and program.tables),
        error=error,
        same=same,
        rows=len(inputs[0]),
    )


def program_files(form: CForm, *, build: bool) -> dict[str, bytes]:
    """The files to write: ending -> content; with `build` the shared library too.

    Raises ModelError if that is asked for and there is no compiler.
    """
    if build and not form.built:
        raise ModelError("build: no C compiler was found (CC, cc, gcc or clang); nothing was written")
    return {**texts(form.program), **({".so": form.built} if build else {})}


def opened(program: Program, built: bytes, shape: tuple[int, ...]) -> CLibrary:
    """A compiled program, loaded; raises ModelError if the compiler's target is another machine."""
    with tempfile.TemporaryDirectory(prefix="oneticket-c-", ignore_cleanup_errors=True) as folder:
        files = {"library": built, "values": program.values}
        disk.replace_all({Path(folder) / name: data for name, data in files.items()})
        try:
            return CLibrary(Path(folder) / "library", Path(folder) / "values", name=program.stem, shape=shape)
        except FileError as error:
            raise ModelError(
                f"c: the compiled program cannot be loaded here: {error.__cause__ or error}; {OTHER}"
            ) from error


def _largest(outputs: Tensor) -> Tensor:
    """The place of the largest output of every row."""
    return outputs.reshape(len(outputs), -1).argmax(1)
