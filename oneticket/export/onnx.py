"""ONNX programs of networks, returned only after ONNX Runtime has computed the same as torch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from oneticket.export.agreement import differs, tolerance
from oneticket.export.example import Example, arguments, leaves, parts
from oneticket.export.sizes import Dynamic, Open, open_axes, others
from oneticket.ground.errors import ModelError, WrongModelError
from oneticket.ground.logs import silenced

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install 'oneticket[onnx]'"
LARGEST = 2**31 - 1  # bytes of one protobuf message


def missing() -> str:
    """Which of the packages is not installed and what to do; empty if all are installed."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    return f"onnx needs {', '.join(absent)}: {INSTALL}" if absent else ""


def onnx_bytes(network: nn.Module, example: Example, *, dynamic: Dynamic = ()) -> bytes:
    """The ONNX program of a network in evaluation mode, with open sizes of the batch and of `dynamic` axes.

    Made by `torch.onnx.export` from `torch.export`; inputs have the names of the forward pass's arguments; the batch
    axis is found by `example.batch_axes`. The program contains nothing of the source code: no lines, comments or
    folders. ONNX Runtime first computes other sizes of every open axis: a difference from torch beyond rounding is an
    error.

    Raises ModelError for a missing package, a network that cannot be exported, and other outputs; SpecError for an axis
    that no input has.
    """
    if lacking := missing():
        raise ModelError(lacking)
    axes = open_axes(network, example, dynamic)
    data = _program(network, example, axes)
    run, near = session(data), tolerance(network, example)
    for each, want in others(network, example, axes):
        if apart := differs(want, run(each), near=near):
            raise ModelError(f"onnx: ONNX Runtime does not compute what torch does, {apart}; nothing was written")
    return data


def session(data: bytes) -> Callable[[Example], tuple[Tensor, ...]]:
    """A program as a function from a batch to output tensors, run by ONNX Runtime on the CPU with torch's threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        made = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many classes of errors
        way = "; export the network as float32: model.float()" if "NOT_IMPLEMENTED" in str(error) else ""
        raise ModelError(f"onnx: ONNX Runtime does not take this program: {_reason(error)}{way}") from None
    names = [one.name for one in made.get_inputs()]

    def run(example: Example) -> tuple[Tensor, ...]:
        named = dict(part for name, value in arguments(example)[1].items() for part in parts(name, value))
        given = named if named.keys() >= set(names) else dict(zip(names, leaves(example), strict=True))
        feed = {name: given[name].detach().cpu().numpy() for name in names}
        try:
            return tuple(torch.from_numpy(one) for one in made.run(None, feed))
        except Exception as error:  # see above
            raise ModelError(f"onnx: ONNX Runtime fails on the example: {_reason(error)}") from None

    return run


def network_bytes(network: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


def _program(network: nn.Module, example: Example, axes: Open) -> bytes:
    if any(tensor.dtype == torch.bfloat16 for tensor in (*network.parameters(), *leaves(example))):
        raise WrongModelError(
            "onnx: ONNX Runtime computes no bfloat16 on the CPU, so nothing could be compared; export the network as "
            "float32 or float16: model.float() or model.half()"
        )
    positional, named = arguments(axes.several)
    flat, structure = pytree.tree_flatten(axes.several)
    names = iter(axes.names)
    shapes: Any = pytree.tree_unflatten([next(names) if isinstance(one, Tensor) else None for one in flat], structure)
    shapes = shapes if named else (shapes,) if isinstance(axes.several, Tensor) else tuple(shapes)
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            program = torch.onnx.export(
                network, positional, kwargs=named, dynamo=True, dynamic_shapes=shapes, verbose=False, optimize=True
            )
        assert program is not None
        if network_bytes(network) > LARGEST:
            raise WrongModelError("onnx: more than 2 GiB of weights do not fit one file; export parts of the network")
        made = program.model_proto
        _forget(made)
        data: bytes = made.SerializeToString(deterministic=True)
    except ModelError:
        raise
    except Exception as error:  # any error of torch.export on a forward pass
        raise ModelError(f"onnx: torch cannot export {type(network).__name__}: {_reason(error)}") from error
    return data


def _forget(message: Any) -> None:
    """Remove from a program, in place, all traces of its source code: torch writes stack traces there."""
    for field in ("doc_string", "metadata_props"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in (value,) if hasattr(value, "DESCRIPTOR") else value:
                _forget(part)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter and its optimizer, which warn about themselves and about missing packages."""
    with silenced("torch.onnx", "onnxscript"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: BaseException) -> str:
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    first = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1]) or type(root).__name__
    return first if len(first) <= 200 else first[:197] + "..."
