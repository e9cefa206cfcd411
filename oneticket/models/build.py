"""From a model's spec to a freshly initialised model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from oneticket.apply.outputs import traced
from oneticket.ground.errors import ModelError
from oneticket.ground.table import Table
from oneticket.models import factory, library
from oneticket.models.conv import conv
from oneticket.models.layers import Net, Shape, initialise
from oneticket.models.mlp import mlp
from oneticket.models.parts import heads
from oneticket.models.resnet import Basic, Bottleneck, thin, wide
from oneticket.models.spec import MODELS, ModelSpec, library_of
from oneticket.models.vgg import vgg
from oneticket.ticket.values import memory

Builder = Callable[[ModelSpec, Shape, int], Net]


def build(spec: ModelSpec, *, shape: Shape, classes: int, seed: int) -> nn.Module:
    """The model on the CPU, with initial weights drawn from `seed`; torch's global generators are left as they were.

    `shape` is (channels, height, width) of one input. The same arguments give the same bits, and for known models
    another number of classes changes the output layer only. A factory's or library's draws are covered as far as they
    use torch's CPU generator; its model gets the attribute `head_name`, the name of its output layer or of that
    layer's tensors, found by where the logits come from. Raises ModelError if the model does not fit the shape, or a
    factory or library fails or it has no recognisable head.

    >>> net = build(ModelSpec(name="mlp", widths=(5,)), shape=(1, 1, 40), classes=10, seed=0)
    >>> net(torch.zeros(2, 1, 1, 40)).shape
    torch.Size([2, 10])
    """
    if len(shape) != 3 or min(shape) < 1 or classes < 1:
        raise ModelError(f"expected a shape (channels, height, width) and classes of 1 or more, got {shape}, {classes}")
    with torch.random.fork_rng(devices=[]):
        if MODELS.is_own(spec.name):
            return _foreign(spec, shape, classes, seed)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators too
        # Laid out without values, so that torch's own first values cost neither time nor draws.
        model = _laid_out(spec, shape, classes)
        _afford(model, spec)
        initialise(model)
    return model


def layout(spec: ModelSpec, *, shape: Shape, classes: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all parameters and buffers of a known model, without memory for their values.

    Raises ModelError for a model that no machine could hold, or that does not fit the shape.

    >>> layout(ModelSpec(name="mlp", widths=(5,)), shape=(1, 1, 40), classes=10)["fc1.weight"]
    (5, 40)
    """
    with torch.random.fork_rng(devices=[]):
        model = _laid_out(spec, shape, classes)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _laid_out(spec: ModelSpec, shape: Shape, classes: int) -> Net:
    """A known model without memory for its values."""
    try:
        with torch.device("meta"):
            return BUILDERS[spec.name](spec, shape, classes)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{spec.name} for images {shape} and {classes} classes cannot be laid out: {error}") from error


def _afford(model: nn.Module, spec: ModelSpec) -> None:
    """Refuse a model that would not fit into memory, before any of it is made."""
    needed, there = sum(value.nbytes for value in model.state_dict().values()), memory()
    if there is not None and needed > there:
        raise ModelError(
            f"{spec.name} would take {needed:,} bytes of memory, {there:,} are free here; take a smaller model.width, "
            "model.widths or images"
        )


def _foreign(spec: ModelSpec, shape: Shape, classes: int, seed: int) -> nn.Module:
    """A model of a library or the user's own, tried on two blank images."""
    make = library.make if library_of(spec.name) else partial(factory.call, factory.find(spec.name))
    torch.default_generator.manual_seed(seed)
    with torch.device("cpu"):
        model = make(spec, shape, classes)
        _try(model, shape, classes)
        _name_head(model, spec.head, shape, classes)
    return model


def _try(model: nn.Module, shape: Shape, classes: int) -> None:
    """Run two blank images through a model that is not ours; ModelError unless two rows of logits come out."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            out = model(torch.zeros(2, *shape))
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} fails on images of shape (2, {', '.join(map(str, shape))}): {error}"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    came = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if came != (2, classes):
        raise ModelError(f"{type(model).__name__}: expected logits of shape (2, {classes}) for two images, got {came}")


def _name_head(model: nn.Module, name: str, shape: Shape, classes: int) -> None:
    """Give the model its `head_name`, unless it has one: as told, as blank images show, or by the number of outputs."""
    if name or getattr(model, "head_name", None) is None:
        modes = {module: module.training for module in model.modules()}
        found = None if name else traced(model.eval(), torch.zeros(2, *shape))
        for module, mode in modes.items():
            module.training = mode
        # Nothing found is a sum along a residual stream, and the spec's field asks for a layer.
        model.head_name = name or found or heads(model, classes=classes)  # type: ignore[assignment]
    heads(model)


BUILDERS: Table[Builder] = MODELS.filled(
    {
        "lenet-300-100": partial(mlp, widths=(300, 100)),
        "mlp": mlp,
        "conv-2": partial(conv, pairs=(64,)),
        "conv-4": partial(conv, pairs=(64, 128)),
        "conv-6": partial(conv, pairs=(64, 128, 256)),
        "resnet-20": partial(thin, blocks=3),
        "resnet-32": partial(thin, blocks=5),
        "resnet-56": partial(thin, blocks=9),
        "resnet-18": partial(wide, block=Basic, blocks=(2, 2, 2, 2)),
        "resnet-50": partial(wide, block=Bottleneck, blocks=(3, 4, 6, 3)),
        "vgg-11": partial(vgg, convs=(1, 1, 2, 2, 2)),
        "vgg-13": partial(vgg, convs=(2, 2, 2, 2, 2)),
        "vgg-16": partial(vgg, convs=(2, 2, 3, 3, 3)),
        "vgg-19": partial(vgg, convs=(2, 2, 4, 4, 4)),
    }
)
