"""Which form of a layer is faster on this machine: measured once for each size of layer and batch, and stored.

A layer is sparse below a density that a short calibration finds: its dense form is timed, on as many threads as it will
have, and its sparse form, which takes one, at three densities. Between two of them its time is about linear in the
density, which gives the break-even density. The
first result is stored in the cache folder, so that every process of a machine makes the same choice and repeated work
gives equal bits. The choice changes speed and rounding, nothing else.

Of a large network, a process of its own measures and compiles: the compiler would stay in this one's memory (80 MB).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from oneticket.compact.sparse import Sparse, fits
from oneticket.ground import clock, disk, note
from oneticket.ground.allocator import keep_freed
from oneticket.ground.canon import digest
from oneticket.ground.elsewhere import elsewhere
from oneticket.ground.errors import StoreError, tell
from oneticket.ground.extras import numba_works
from oneticket.ground.phase import phase
from oneticket.ground.streams import Streams
from oneticket.ground.threads import threads

Layer = nn.Linear | nn.Conv2d
SMALLEST = 1 << 13  # weights times places of an input; below, a step is all overhead and no form pays
DENSEST = 0.9  # above it no layer gains more than noise, so none is measured
MARGIN = 0.95  # of the dense time
SAMPLES = (0.03, 0.3, 0.8)
LARGE = 1 << 20  # weights to measure; of fewer a process of its own takes longer than its memory is worth
MOST, FEWEST = 1 << 20, 64  # weights that are measured of a layer, and outputs
ROUNDS, TIMES = 5, 3  # of all forms in turn, and of each form in a round
ENOUGH = 0.05  # seconds in a round from which on a form is not timed again
STEP = 1.1  # densities are rounded to this factor, so that a little noise changes none


def forms(
    layers: Mapping[str, Layer], remaining: Mapping[str, Tensor], inputs: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """Layer -> "sparse" or "masked", the faster at its density.

    `remaining`: bool, of the shapes of the weights or of their kept parts; `inputs`: the shape of each layer's input,
    the batch included.
    """
    density = {name: int(each.count_nonzero()) / each.numel() for name, each in remaining.items() if each.numel()}
    thin = [
        name
        for name, layer in layers.items()
        if density.get(name, 1) <= DENSEST and _fits(layer, remaining[name], inputs[name])
    ]
    if not thin or not numba_works():
        return dict.fromkeys(layers, "masked")
    _learn([(layers[name], inputs[name]) for name in thin])
    sparse = {name for name in thin if density[name] <= worth(layers[name], inputs[name])}
    return {name: "sparse" if name in sparse else "masked" for name in layers}


def worth(layer: Layer, shape: tuple[int, ...]) -> float:
    """The density up to which a layer that fits is sparse, for inputs of that shape; 0 for never."""
    found = _kept(layer, shape)
    if found is None:
        with phase(MEASURING):
            found = _keep(layer, shape, _calibrate(layer, shape))
    return found


def measure(asked: Mapping[str, Any]) -> list[float]:
    """What `worth` measures, of threads, layers and shapes as `_learn` writes them: for a process of its own."""
    from oneticket.data.columns import scaled  # numba

    keep_freed()  # as the processes do that train large networks
    one = torch.ones(1, dtype=torch.float32, device="cpu")
    scaled(one.to(torch.uint8).view(1, 1), one, one)  # compiled here for who trains then
    with threads(asked["threads"]):
        return [_calibrate(KINDS[kind](**sizes, device="meta"), tuple(shape)) for kind, sizes, shape in asked["layers"]]


def _learn(asked: Sequence[tuple[Layer, tuple[int, ...]]]) -> None:
    """Have another process measure the layers of a large network that are not known yet, all at once."""
    lacking = {_about(*each): each for each in asked if _kept(*each) is None}
    if sum(layer.weight.numel() for layer, _ in lacking.values()) < LARGE:
        return
    with phase(MEASURING):
        layers = [_written(*each) for each in lacking.values()]
        found = elsewhere("compact.choose:measure", {"threads": torch.get_num_threads(), "layers": layers})
    for (layer, shape), each in zip(lacking.values(), found or (), strict=False):
        _keep(layer, shape, each)


def _written(layer: Layer, shape: tuple[int, ...]) -> tuple[str, dict[str, object], tuple[int, ...]]:
    if isinstance(layer, nn.Linear):
        return "linear", {"in_features": layer.in_features, "out_features": layer.out_features}, shape
    sizes = {"in_channels": layer.in_channels, "out_channels": layer.out_channels, "stride": layer.stride}
    return "convolution", {**sizes, "kernel_size": layer.kernel_size, "padding": layer.padding}, shape


def _about(layer: Layer, shape: tuple[int, ...]) -> tuple[str, Path]:
    """What is measured, and the file that keeps it."""
    machine = [torch.backends.cpu.get_cpu_capability(), os.cpu_count(), torch.get_num_threads()]
    about = json.dumps([repr(layer), [*shape], *machine, FORMAT])
    return about, disk.cache_folder() / "forms" / f"{digest(about)}.json"


def _kept(layer: Layer, shape: tuple[int, ...]) -> float | None:
    """What is known by now."""
    about, path = _about(layer, shape)
    if path not in _KNOWN:
        try:
            _KNOWN[path] = float(note.read(path.read_bytes(), KIND, about))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, StoreError) as error:  # it cannot be read for now, or is damaged
            tell(path, error, "it is measured anew")
            return None
    return _KNOWN[path]


def _keep(layer: Layer, shape: tuple[int, ...], found: float) -> float:
    """Keep what was measured; of several processes that measure, all take what the first one kept."""
    about, path = _about(layer, shape)
    text = note.write(KIND, about, found).encode()
    try:
        if not disk.create(path, text):
            try:
                found = float(note.read(path.read_bytes(), KIND, about))
            except StoreError:  # damaged, which was told when it was to be read
                disk.replace(path, text)
    except OSError as error:
        if path.parent not in _TOLD:
            _TOLD.add(path.parent)
            tell(path.parent, error, "each process measures for itself, and may differ from others by rounding")
    _KNOWN[path] = found
    return found


def _fits(layer: Layer, remaining: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a layer has a sparse form, and is so large that a form matters."""
    places = shape[1:-1] if isinstance(layer, nn.Linear) else shape[2:]
    return remaining.numel() * math.prod(places) >= SMALLEST and fits(layer)


def _calibrate(layer: Layer, shape: tuple[int, ...]) -> float:
    """Where the sparse form takes `MARGIN` of the dense one's time, forward and backward.

    Of a large layer some outputs are measured: both times are linear in their number, and they take little memory.
    """
    generator = Streams(root=0, replicate=0).generator("shuffle")
    like = _like(layer, max(FEWEST, MOST * len(layer.weight) // layer.weight.numel()))
    kind: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}  # whatever the defaults are
    draws = torch.rand(like.weight.shape, generator=generator, **kind)
    x = torch.randn(shape, generator=generator, **kind)
    if isinstance(layer, nn.Conv2d):
        x = x.contiguous(memory_format=torch.channels_last)

    def seconds(*densities: float) -> list[float]:
        some: list[nn.Module] = [*(Sparse(like, draws < density) for density in densities), like]
        for each in some:
            _seconds(each, x)  # the first one compiles
        rounds = [[_seconds(each, x) for each in some] for _ in range(ROUNDS)]
        return [median(taken) for taken in zip(*rounds, strict=True)]

    low, middle, high = SAMPLES
    few, many, dense = seconds(low, middle)
    if many <= MARGIN * dense:  # the dearest is measured only where it can pay
        low, middle = middle, high
        few, many, dense = seconds(low, middle)
    slope, spare = (many - few) / (middle - low), MARGIN * dense - few
    at = low + spare / slope if slope > 0 else DENSEST * (spare >= 0)  # small layers: no slower when denser
    return next((round(mark, 4) for mark in MARKS if mark <= at), 0.0)


def _like(layer: Layer, most: int) -> Layer:
    """A layer of the same size, but with at most so many outputs, and with gradients of its own."""
    outputs = min(most, len(layer.weight))
    new: Layer = (
        skip_init(nn.Linear, layer.in_features, outputs, dtype=torch.float32)  # type: ignore[no-untyped-call]
        if isinstance(layer, nn.Linear)
        else skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d,
            layer.in_channels,
            outputs,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dtype=torch.float32,
        )
    )
    for weight in new.parameters():
        nn.init.constant_(weight, 0.01)
    new.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return new


def _seconds(layer: nn.Module, x: Tensor) -> float:
    """The shortest of some forward and backward passes, in the own time of this thread: others may be busy."""
    x = x.detach().requires_grad_()
    seen: list[float] = []
    grad = None
    while len(seen) < TIMES and sum(seen) < ENOUGH:
        for each in (x, *layer.parameters()):
            each.grad = None
        began = clock.worked()
        out = layer(x)
        grad = torch.ones_like(out) if grad is None else grad
        out.backward(grad)
        seen.append(clock.worked() - began)
    return min(seen)


MARKS = [DENSEST / STEP**n for n in range(60)]
KINDS: dict[str, Any] = {"linear": nn.Linear, "convolution": nn.Conv2d}
MEASURING = "measuring once which layers are faster sparse on this machine"
KIND = "density below which a layer is sparse"
FORMAT = 7  # of what is kept; raised when the kernels change
_TOLD: set[Path] = set()
_KNOWN: dict[Path, float] = {}  # by its file: in another cache folder other processes may have measured otherwise
