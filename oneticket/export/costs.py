"""What a ticket saves in deployment: bytes, numbers, multiply-adds and time, measured on this machine."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from oneticket.compact.choose import SMALLEST
from oneticket.compact.flops import flops
from oneticket.compact.sparse import Sparse, fits
from oneticket.export.agreement import differs, tolerance
from oneticket.export.c import c_form
from oneticket.export.c.library import compiler
from oneticket.export.example import Example, arguments, leaves, outputs
from oneticket.export.network import Made, compacted, masked, unpruned
from oneticket.export.onnx import INSTALL, missing, onnx_bytes, session
from oneticket.export.plain import plain
from oneticket.export.ratio import Ratio, ratio
from oneticket.export.sparse import csr
from oneticket.ground import clock
from oneticket.ground.brief import brief
from oneticket.ground.errors import ModelError, PruneError, SpecError
from oneticket.ground.extras import numba_works
from oneticket.ticket.mask import Mask

ROUNDS = 30
DENSEST = 0.5  # of a layer in the sparse form
SHORTEST = 0.001  # seconds of the dense network between two readings of the clock, at least, to hide their cost
TIMES = 3  # such intervals in a turn; the shortest counts, since other programs only ever add time


@dataclass(frozen=True, kw_only=True)
class Row:
    """The measurements of one form of the network.

    `size`, `zipped`: bytes of its file, and of the file compressed; `numbers`: stored parameters, `remaining` those
    that may differ from zero; `madds`: multiply-adds of one input's forward pass (None where not counted); `seconds`:
    the median time of a batch, `spread` its quartiles; `ratio`: its time over that of the form `baseline` in the same
    round, `to_dense` that over the dense network's in PyTorch; `removed`: how many units were removed; `note`: remarks.
    """

    form: str
    size: int
    zipped: int
    numbers: int
    remaining: int
    madds: int | None
    seconds: float
    spread: tuple[float, float]
    ratio: Ratio
    baseline: str
    to_dense: Ratio
    removed: int = 0
    note: str = ""

    __repr__ = brief


def measure(
    model: nn.Module, mask: Mask, example: Example, *, rounds: int = ROUNDS, int8: bool = False
) -> tuple[Row, ...]:
    """Measure the network's forms: file size, stored numbers, multiply-adds and time.

    Forms: "dense" (unpruned), "masked" (pruned weights zero), and where they differ from these "compact" (dead units
    removed), "sparse" (`compact.sparse`), "csr", "onnx", "onnx-compact" and, with a C compiler, "c-dense" (the unpruned
    network as C) and "c"; with `int8` also "c-int8". In each of `rounds` rounds every form computes the batch once, in
    changing order; time ratios are within a round, over "dense", and for what the ticket itself gives "onnx-compact"
    over "onnx" and "c" over "c-dense". Evaluation mode, no gradients, torch's current number of threads; the programs
    run on the CPU only. A note at "dense" says which forms are not measured, such as one with other outputs, and why.
    Raises PruneError if the mask does not fit the model, ModelError for an example that does not fit, SpecError for
    `rounds` below 1.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> rows = measure(net, Mask({"2.weight": torch.tensor([[True, False, True]])}), torch.zeros(4, 2), rounds=2)
    >>> [(row.form, row.numbers, row.remaining, row.madds) for row in rows if row.form in ("dense", "compact")]
    [('dense', 13, 13, 9), ('compact', 9, 9, 6)]
    """
    if rounds < 1:
        raise SpecError(f"rounds: expected 1 or more, got {rounds}")
    made = plain(model, mask, example)
    model, mask, near = made.network, made.mask, tolerance(made.network, example)
    wholes = masked(model, mask)
    want = outputs(wholes.network, example)
    small = compacted(model, mask, example)
    full = Mask.full(mask)
    sides = [_side("dense", replace(masked(model, full), note=made.note), example), _side("masked", wholes, example)]
    if small.removed:
        sides.append(_side("compact", small, example))
    if (thin := _sparse(small)) is not None:
        sides.append(_side("sparse", thin, example))
    with contextlib.suppress(PruneError):  # no linear layer lost a weight
        sides.append(_side("csr", csr(model, mask), example))
    device = leaves(example)[0].device
    if device.type == "cpu" and missing():
        sides[0] = sides[0].noted(f"ONNX Runtime not measured: {INSTALL}")
    elif device.type == "cpu":
        try:
            sides.append(_program("onnx", wholes, example))
            if small.removed:
                sides.append(_program("onnx-compact", small, example, baseline="onnx"))
        except ModelError as error:
            sides[0] = sides[0].noted(str(error))
    if device.type == "cpu" and compiler():
        try:
            pruned = mask.remaining < mask.total
            if pruned:
                sides.append(_c("c-dense", unpruned(model, mask), example))
            sides.append(_c("c", small, example, baseline="c-dense" if pruned else "dense"))
            if int8:
                sides.append(_c("c-int8", small, example))
        except ModelError as error:
            sides[0] = sides[0].noted(str(error).replace("\n", "; "))
    for side in [side for side in sides[1:] if side.form not in ("c-dense", "c-int8")]:  # compared by `c_form`
        try:
            apart = differs(want, side.run(example), near=near)
        except ModelError as error:
            apart = str(error)
        if apart:
            sides.remove(side)
            sides[0] = sides[0].noted(f"{side.form} is left out: {apart}")
    sides = [side for side in sides if side.baseline in {other.form for other in sides}]
    seconds = _times([lambda side=side: side.run(example) for side in sides], rounds, device)  # type: ignore[misc]
    by_form = {side.form: taken for side, taken in zip(sides, seconds, strict=True)}
    return tuple(side.row(by_form[side.form], by_form[side.baseline], by_form["dense"]) for side in sides)


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A form before it is timed."""

    form: str
    made: Made
    run: Callable[[Example], tuple[Tensor, ...]]
    data: bytes
    madds: int | None
    baseline: str = "dense"
    note: str = ""
    numbers: tuple[int, int] | None = None  # stored, and remaining; those of the network unless given

    def noted(self, note: str) -> _Side:
        return replace(self, note="; ".join(filter(None, (self.note or self.made.note, note))))

    def row(self, seconds: Sequence[float], baseline: Sequence[float], dense: Sequence[float]) -> Row:
        numbers, remaining = self.numbers or _numbers(self.made)
        ordered = sorted(seconds)
        return Row(
            form=self.form,
            size=len(self.data),
            zipped=len(zlib.compress(self.data)),
            numbers=numbers,
            remaining=remaining,
            madds=self.madds,
            seconds=median(seconds),
            spread=(ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]),
            ratio=ratio(seconds, baseline),
            baseline=self.baseline,
            to_dense=ratio(seconds, dense),
            removed=sum(self.made.removed.values()),
            note=self.note or self.made.note,
        )


def _side(form: str, made: Made, example: Example) -> _Side:
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in made.network.state_dict().items()}
    if form == "sparse":  # the places of its values, as in a ticket's file: a bit per weight
        bits = made.mask.pack()
        layers = {name: made.network.get_submodule(name.rpartition(".")[0]) for name in bits}
        tensors |= {f"{name}.bits": bits[name] for name, layer in layers.items() if isinstance(layer, Sparse)}
    network = made.network
    madds = _madds(network, example) if form != "csr" else None
    return _Side(form=form, made=made, run=lambda each: outputs(network, each), data=save(tensors), madds=madds)


def _program(form: str, made: Made, example: Example, *, baseline: str = "dense") -> _Side:
    data = onnx_bytes(made.network, example)
    madds = _madds(made.network, example)
    return _Side(form=form, made=made, run=session(data), data=data, madds=madds, baseline=baseline)


def _c(name: str, made: Made, example: Example, *, baseline: str = "dense") -> _Side:
    """The compiled C form; its bytes are those of its tables, and of its instructions where known."""
    int8 = name == "c-int8"
    form = c_form(made.network, example, embedded=0, int8=int8)  # values in a file of their own compile sooner
    assert form.library
    run = form.library
    data = form.program.tables + bytes(form.code or 0)
    numbers = (form.program.numbers, _numbers(made)[1])
    return _Side(
        form=name,
        made=made,
        run=lambda each: (run(leaves(each)[0]),),
        data=data,
        madds=form.madds,
        note=f"outputs within {form.error:.2g} of the masked network's, of the largest" if int8 else "",
        baseline=baseline,
        numbers=numbers,
    )


def _sparse(made: Made) -> Made | None:
    """The network with every layer sparse that fits, is large enough and has at most half density; None without any."""
    network = masked(made.network, made.mask).network
    remaining = {name: made.mask[name] for name, held in made.mask.counts.items() if held}
    chosen = 0
    for name, remains in remaining.items():
        owner, _, last = name.rpartition(".")
        layer: Any = network.get_submodule(owner)
        few = remains.numel() >= SMALLEST and int(remains.sum()) <= DENSEST * remains.numel()
        if owner and last == "weight" and few and fits(layer) and numba_works():
            network.set_submodule(owner, Sparse(layer, remains).eval())
            chosen += 1
    note = f"{chosen} of {len(made.mask)} layers sparse"
    return Made(network=network, mask=made.mask, removed=made.removed, note=note) if chosen else None


def _madds(network: nn.Module, example: Example) -> int | None:
    positional, named = arguments(example)
    only = positional[0] if len(positional) == 1 and not named else None
    return flops(network, only) if isinstance(only, Tensor) else None


def _numbers(made: Made) -> tuple[int, int]:
    """Stored parameters, and those of them that remain."""
    parameters = dict(made.network.named_parameters())
    stored = sum(parameter.numel() for parameter in parameters.values())
    stored += sum(buffer.numel() for name, buffer in made.network.named_buffers() if name.endswith(".values"))
    dead = sum(parameters[name].numel() - held for name, held in made.mask.counts.items() if name in parameters)
    return stored, stored - dead


def _times(sides: Sequence[Callable[[], object]], rounds: int, device: torch.device) -> list[list[float]]:
    """For each form the seconds of one call in every round; the first form and the direction change."""
    for side in sides:
        side()
        side()
    once = min(_seconds(sides[0], 1, device) for _ in range(3))
    times = max(1, math.ceil(SHORTEST / max(once, 1e-9)))
    found: list[list[float]] = [[] for _ in sides]
    places = list(range(len(sides)))
    for number in range(rounds):
        first = number % len(sides)
        order = (places[first:] + places[:first])[:: 1 if number % 2 else -1]
        for place in order:
            found[place].append(_seconds(sides[place], times, device))
    return found


def _seconds(side: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds of one call: the shortest of some intervals of that many calls."""
    found = []
    for _ in range(TIMES):
        began = clock.now()
        for _ in range(times):
            side()
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # calls return before the device is done
        found.append((clock.now() - began) / times)
    return min(found)
