"""ONNX programs of networks, given away only once ONNX Runtime has computed with them what torch computes."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.export.network import Example, arguments, batch, differs, outputs
from oneticket.ground.errors import ModelError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LARGEST = 2**31 - 1  # bytes of one protobuf message


def missing() -> str:
    """Which of the packages is not installed and what to do; nothing if all are there."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    return f"onnx needs {', '.join(absent)}: pip install 'oneticket[onnx]'" if absent else ""


def onnx_bytes(network: nn.Module, example: Example) -> bytes:
    """The ONNX program of a network in evaluation mode; the size of the batch is left open.

    Made by `torch.onnx.export` out of `torch.export`, with inputs named as the forward pass names them. Before it is
    given away, ONNX Runtime computes batches of several sizes: outputs further from torch's than rounding are an error.

    Raises ModelError for a missing package, a network that cannot be exported, and other outputs.
    """
    if lacking := missing():
        raise ModelError(lacking)
    two = batch(
        example, max(2, len(next(iter(_flat(example)))))
    )  # one row would be taken for a size that never changes
    positional, named = arguments(two)
    rows = {0: torch.export.Dim("batch")}
    shapes: Any = dict.fromkeys(named, rows) if named else tuple(rows for _ in positional)
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            program = torch.onnx.export(
                network, positional, kwargs=named, dynamo=True, dynamic_shapes=shapes, verbose=False, optimize=True
            )
        assert program is not None
        if network_bytes(network) > LARGEST:
            raise ModelError("onnx: more than 2 GiB of weights do not fit one file; export parts of the network")
        data: bytes = program.model_proto.SerializeToString()
    except ModelError:
        raise
    except Exception as error:  # whatever torch.export says to a forward pass
        raise ModelError(f"onnx: torch cannot export {type(network).__name__}: {_reason(error)}") from error
    run = session(data)
    for each in (example, batch(example, 1), batch(example, 5)):
        if apart := differs(outputs(network, each), run(each)):
            raise ModelError(f"onnx: ONNX Runtime does not compute what torch does, {apart}; nothing was written")
    return data


def session(data: bytes) -> Callable[[Example], tuple[Tensor, ...]]:
    """A program as a function from a batch to output tensors, by ONNX Runtime on the CPU with torch's thread count."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        made = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has a class of its own for everything that a program may ask for
        raise ModelError(f"onnx: ONNX Runtime does not take this program: {error}") from None
    names = [one.name for one in made.get_inputs()]

    def run(example: Example) -> tuple[Tensor, ...]:
        positional, named = arguments(example)
        given = named or dict(zip(names, positional, strict=True))
        found = made.run(None, {name: given[name].detach().cpu().numpy() for name in names})
        return tuple(torch.from_numpy(one) for one in found)

    return run


def network_bytes(network: nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


def _flat(example: Example) -> list[Tensor]:
    positional, named = arguments(example)
    return [*positional, *named.values()]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of what it finds in itself and in packages that are not there."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _reason(error: BaseException) -> str:
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    first = next((line.strip() for line in str(root).splitlines() if line.strip()), type(root).__name__)
    return first if len(first) <= 200 else first[:197] + "..."
