"""What one input costs an exported network: our C at 10 % and 2 % of the weights, beside dense runtimes and dense C.

Batch 1, one thread, from a tensor in Python to a tensor in Python. Every prunable layer keeps that share of its
weights, anywhere; the head is dense. In every round each side takes its turn for as long as it needs for a few
milliseconds, in an order that changes, and ratios are of one round: of CPU time, since other programs share the
machine; wall time stands in the notes. Low and high are quartiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.row import Row, absent, row
from oneticket.cli.export import network
from oneticket.export.c import c_form
from oneticket.export.c.library import compiler
from oneticket.export.network import masked
from oneticket.export.onnx import missing, onnx_bytes, session
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.publish.shipped import shipped as zoo
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

ROUNDS, STRETCH = 30, 0.01  # seconds of a side's turn, about

Run = Callable[[Tensor], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, and what its sparse C is to take over dense PyTorch, or over the better dense runtime, by density."""

    name: str
    spec: ModelSpec
    shape: tuple[int, ...]
    over_torch: dict[float, str] = field(default_factory=dict)
    over_better: dict[float, str] = field(default_factory=dict)


CASES = (
    Case(
        name="LeNet-300-100",
        spec=ModelSpec(name="lenet-300-100"),
        shape=(1, 28, 28),
        over_torch={0.1: "<= 0.25", 0.02: "<= 0.12"},
    ),
    Case(
        name="MLP of 10 M",
        spec=ModelSpec(name="mlp", widths=(2800, 2800)),
        shape=(1, 28, 28),
        over_torch={0.1: "<= 0.25", 0.02: "<= 0.12"},
    ),
    Case(name="Conv-4", spec=ModelSpec(name="conv-4"), shape=(3, 32, 32), over_better={0.1: "<= 0.8", 0.02: "<= 0.4"}),
    Case(name="VGG-11", spec=ModelSpec(name="vgg-11"), shape=(3, 32, 32), over_better={0.1: "<= 0.7", 0.02: "<= 0.35"}),
    Case(name="ResNet-20", spec=ModelSpec(name="resnet-20"), shape=(3, 32, 32)),
)
DENSITIES = (0.1, 0.02)
SHIPPED = ("lenet-fashion_mnist", "conv-4-cifar10", "resnet-20-cifar10")
BETTER = "the better of PyTorch and ONNX Runtime"


def rows() -> list[Row]:
    """All that is measured here."""
    torch.set_num_threads(1)
    if lacking := ("no C compiler" if not compiler() else missing()):
        return [absent(f"{case.name}: exported", lacking) for case in CASES]
    with torch.no_grad():
        return [one for case in CASES for one in measured(case)] + [one for name in SHIPPED for one in shipped(name)]


def measured(case: Case) -> list[Row]:
    """The rows of a network."""
    net = build(case.spec, inputs=Inputs(shape=case.shape), outputs=10, seed=0).eval()
    x = torch.randn(1, *case.shape, generator=torch.Generator().manual_seed(0))
    sides, gone = made(net, x)
    ratio = taken(case.name, sides, x)
    rows = [ratio(name, "PyTorch") for name in sides if "%" not in name and name != "PyTorch"]
    for density in DENSITIES:
        sparse = said(density)
        rows.append(ratio(sparse, "PyTorch", case.over_torch.get(density, "")))
        if case.over_better:
            rows.append(ratio(sparse, BETTER, case.over_better[density]))
        one = "<= 1" if case.over_torch else ""
        rows += [ratio(sparse, name, one) for name in ("ONNX Runtime", "our C")]
        rows += [ratio(sparse, "OpenVINO")] if "OpenVINO" in sides else []
        rows += [
            ratio(name, "PyTorch") for name in sides if name.endswith(f"at {100 * density:g} %") and name != sparse
        ]
    return rows + [absent(f"one input, {case.name}: {name} / PyTorch, dense", why) for name, why in gone.items()]


def shipped(name: str) -> list[Row]:
    """The rows of a ticket that comes with the package: found by a search, so that layers differ in density."""
    ticket = Ticket.load(zoo()[name])
    net = network(ticket, ticket, run_code=False).eval()
    x = torch.randn(1, *Inputs.read(ticket.model).shape, generator=torch.Generator().manual_seed(0))
    thin = f"our C of the ticket, {100 * ticket.mask.density:.2g} %"
    sides = {"PyTorch": net, "ONNX Runtime": session(onnx_bytes(net, x)), "our C": library(net, x)}
    ratio = taken(f"shipped {name}", {**sides, thin: library(masked(net, ticket.mask).network, x)}, x)
    return [ratio(thin, beside) for beside in (BETTER, "our C")]


def taken(name: str, sides: dict[str, Run], x: Tensor) -> Callable[..., Row]:
    """Times all sides in turn; what it gives makes the row of one side over another."""
    found = dict(zip(sides, turns(list(sides.values()), x), strict=True))
    cpu, wall = ({side: [one[kind] for one in times] for side, times in found.items()} for kind in (0, 1))
    for times in (cpu, wall):
        times[BETTER] = [*map(min, times["PyTorch"], times["ONNX Runtime"])]

    def ratio(side: str, beside: str, target: str = "") -> Row:
        ratios = [one / other for one, other in zip(cpu[side], cpu[beside], strict=True)]
        clock = statistics.median(one / other for one, other in zip(wall[side], wall[beside], strict=True))
        note = f"{1e6 * statistics.median(cpu[side]):.3g} us; by wall time {clock:.3g}; quartiles"
        low, _, high = statistics.quantiles(ratios)
        made = row(f"one input, {name}: {side} / {beside}, dense", ratios, target=target, note=note)
        return {**made, "low": low, "high": high}

    return ratio


def said(density: float, kind: str = "our C") -> str:
    """A side of sparse weights."""
    return f"{kind} at {100 * density:g} %"


def made(net: nn.Module, x: Tensor) -> tuple[dict[str, Run], dict[str, str]]:
    """The sides by name; and those that cannot be had here, with the reason."""
    program = onnx_bytes(net, x)
    sides: dict[str, Run] = {"PyTorch": net, "ONNX Runtime": session(program), "our C": library(net, x)}
    gone: dict[str, str] = {}
    if find_spec("openvino"):
        sides["OpenVINO"] = openvino(program)
    else:
        gone["OpenVINO"] = "openvino is not installed"
    for density in DENSITIES:
        draw = torch.Generator().manual_seed(1)
        names = {name: net.get_parameter(name).shape for name in prunable(net)}
        mask = Mask({name: torch.rand(shape, generator=draw) < density for name, shape in names.items()})
        thin = masked(net, mask).network
        sides[said(density)] = library(thin, x)
        sides[said(density, "our C of 8-bit weights")] = library(thin, x, int8=True)
        if all(isinstance(layer, nn.Flatten | nn.Linear | nn.ReLU) for layer in thin):
            sides[said(density, "scipy CSR")] = scipy_csr(thin)
    return sides, gone


def library(net: nn.Module, x: Tensor, *, int8: bool = False) -> Run:
    """The compiled C of a network; dead units stay, so that all sides have the same ones."""
    found = c_form(net, x, int8=int8, embedded=0).library
    assert found
    return found


def openvino(program: bytes) -> Run:
    """OpenVINO on one thread, set up for latency."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request: Any = core.compile_model(core.read_model(program, b""), "CPU", settings).create_infer_request()
    return lambda x: torch.from_numpy(request.infer([x.numpy()])[0])


def scipy_csr(net: nn.Module) -> Run:
    """Linear layers as CSR matrices of scipy, on vectors."""
    import numpy as np
    from scipy.sparse import csr_matrix

    linears = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    layers = [(csr_matrix(one.weight.detach().numpy()), one.bias.detach().numpy()) for one in linears]

    def run(x: Tensor) -> Tensor:
        value = x.numpy().ravel()
        for place, (weight, bias) in enumerate(layers, start=1):
            value = weight @ value + bias
            value = np.maximum(value, 0) if place < len(layers) else value
        return torch.from_numpy(value)

    return run


def turns(sides: Sequence[Run], x: Tensor) -> list[list[tuple[float, float]]]:
    """Per side and round the CPU and wall seconds of one call."""
    calls = []
    for side in sides:
        for _ in range(3):
            side(x)
        took = min(seconds(side, x, 3)[0] for _ in range(5))  # one reading may hold a pause of this process
        calls.append(max(3, round(STRETCH / took)))
    found: list[list[tuple[float, float]]] = [[] for _ in sides]
    for number in range(ROUNDS):
        first = number % len(sides)
        order = [*range(first, len(sides)), *range(first)][:: 1 if number % 2 else -1]
        for place in order:
            sides[place](x)  # with its weights in the caches again
            found[place].append(seconds(sides[place], x, calls[place]))
    return found


def seconds(side: Run, x: Tensor, calls: int) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    began = time.process_time(), time.perf_counter()
    for _ in range(calls):
        side(x)
    return (time.process_time() - began[0]) / calls, (time.perf_counter() - began[1]) / calls


if __name__ == "__main__":
    for found in rows():
        print(f"{found['what']:100} {found['value']} {found['low']} {found['high']} {found['note']}", flush=True)
