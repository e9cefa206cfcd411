"""From a model's spec to a freshly initialised model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from oneticket.apply.outputs import traced
from oneticket.ground.errors import ModelError, WrongModelError
from oneticket.ground.memory import memory
from oneticket.ground.table import Table
from oneticket.models import factory, library
from oneticket.models.conv import conv
from oneticket.models.gpt import byte_gpt
from oneticket.models.layers import Net, initialise
from oneticket.models.mlp import mlp
from oneticket.models.parts import heads
from oneticket.models.resnet import Basic, Bottleneck, thin, wide
from oneticket.models.series import series_cnn
from oneticket.models.spec import KINDS, MODELS, ModelSpec, library_of
from oneticket.models.text import text_cnn
from oneticket.models.vgg import vgg
from oneticket.task.inputs import Inputs

Builder = Callable[[ModelSpec, Inputs, int], Net]


def build(spec: ModelSpec, *, inputs: Inputs, outputs: int, seed: int) -> nn.Module:
    """The model on the CPU, with initial weights drawn from `seed`; torch's global generators are left as they were.

    `outputs`: one for each class, number or word. The same arguments give the same bits, and for known models another
    number of outputs changes the output layer only. A factory's or library's draws are covered as far as they
    use torch's CPU generator; its model gets the attribute `head_name`, the name of its output layer or of that
    layer's tensors, found by where the outputs come from. Raises ModelError if the model does not fit the inputs, or a
    factory or library fails or it has no recognisable head.

    >>> inputs = Inputs(kind="series", shape=(1, 40))
    >>> net = build(ModelSpec(name="mlp", widths=(5,)), inputs=inputs, outputs=10, seed=0)
    >>> net(inputs.example(2)).shape
    torch.Size([2, 10])
    """
    if outputs < 1:
        raise WrongModelError(f"expected outputs of 1 or more, got {outputs}")
    check_kind(spec, inputs)
    with torch.random.fork_rng(devices=[]):
        if MODELS.is_own(spec.name):
            return _foreign(spec, inputs, outputs, seed)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators too
        # Laid out without values, so that torch's own first values cost neither time nor draws.
        model = _laid_out(spec, inputs, outputs)
        _afford(model, spec)
        initialise(model)
    return model


def build_network(network: Mapping[str, Any], *, seed: int) -> nn.Module:
    """As `build`, for the network that a ticket names: `spec`, `shape` and `classes` (the number of outputs).

    `kind` and `vocabulary` describe inputs that are not images.
    """
    spec = ModelSpec.recall(network["spec"])
    return build(spec, inputs=Inputs.read(network), outputs=network["classes"], seed=seed)


def outline(network: Mapping[str, Any]) -> nn.Module:
    """That network for counting and asking: a known one without memory for its values, another as it is built."""
    spec = ModelSpec.recall(network["spec"])
    if MODELS.is_own(spec.name):
        return build_network(network, seed=0)
    check_kind(spec, inputs := Inputs.read(network))
    with torch.random.fork_rng(devices=[]):
        return _laid_out(spec, inputs, network["classes"])


def layout(spec: ModelSpec, *, inputs: Inputs, outputs: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all parameters and buffers of a known model, without memory for their values.

    Raises ModelError for a model that no machine could hold, or that does not fit the inputs.

    >>> layout(ModelSpec(name="mlp", widths=(5,)), inputs=Inputs(kind="vectors", shape=(40,)), outputs=10)["fc1.weight"]
    (5, 40)
    """
    check_kind(spec, inputs)
    with torch.random.fork_rng(devices=[]):
        model = _laid_out(spec, inputs, outputs)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def check_kind(spec: ModelSpec, inputs: Inputs, *, whose: str = "the data") -> None:
    """Refuse a set of one kind under a known model of another; `whose`: what the set is called. Raises ModelError.

    >>> check_kind(ModelSpec(name="conv-2"), Inputs(kind="vectors", shape=(16,)), whose="letter")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.WrongModelError: conv-2 is for images; letter holds vectors of 16 numbers; models for \
vectors: lenet-300-100, mlp
    """
    kinds = KINDS.get(spec.name)
    if kinds and inputs.kind not in kinds:
        fit = ", ".join(name for name, each in KINDS.items() if inputs.kind in each) or "your own"
        raise WrongModelError(
            f"{spec.name} is for {', '.join(kinds)}; {whose} holds {inputs}; models for {inputs.kind}: {fit}"
        )


def _laid_out(spec: ModelSpec, inputs: Inputs, outputs: int) -> Net:
    """A known model without memory for its values."""
    try:
        with torch.device("meta"):
            return BUILDERS[spec.name](spec, inputs, outputs)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise WrongModelError(f"{spec.name} for {inputs} and {outputs} outputs cannot be laid out: {error}") from error


def _afford(model: nn.Module, spec: ModelSpec) -> None:
    """Refuse a model that would not fit into memory, before any of it is made."""
    needed, there = sum(value.nbytes for value in model.state_dict().values()), memory()
    if there is not None and needed > there:
        raise WrongModelError(
            f"{spec.name} would take {needed:,} bytes of memory, {there:,} are free here; take a smaller model.width, "
            "model.widths or inputs"
        )


def _foreign(spec: ModelSpec, inputs: Inputs, outputs: int, seed: int) -> nn.Module:
    """A model of a library or the user's own, tried on two blank inputs."""
    make = library.make if library_of(spec.name) else partial(factory.call, factory.find(spec.name))
    torch.default_generator.manual_seed(seed)
    with torch.device("cpu"):
        model = make(spec, inputs, outputs)
        _try(model, inputs, outputs)
        _name_head(model, spec.head, inputs, outputs)
    return model


def _try(model: nn.Module, inputs: Inputs, outputs: int) -> None:
    """Run two blank inputs through a model that is not ours; ModelError unless its outputs come out for each.

    Of tokens and series there may be outputs for each position.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            out = model(inputs.example(2))
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} fails on {inputs.kind} of shape (2, {', '.join(map(str, inputs.shape))}): {error}"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    came = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    fits = [(2, outputs)] + [(2, inputs.shape[-1], outputs)] * (inputs.kind in ("tokens", "series"))
    if came not in fits:
        sizes = " or ".join(map(str, fits))
        raise WrongModelError(f"{type(model).__name__}: expected outputs of shape {sizes} for two inputs, got {came}")


def _name_head(model: nn.Module, name: str, inputs: Inputs, outputs: int) -> None:
    """Set the model's `head_name` unless it has one: as given, as blank inputs show, or by the number of outputs."""
    if name or getattr(model, "head_name", None) is None:
        modes = {module: module.training for module in model.modules()}
        found = None if name else traced(model.eval(), inputs.example(2))
        for module, mode in modes.items():
            module.training = mode
        # Nothing found is a sum along a residual stream, and the spec's field asks for a layer.
        model.head_name = name or found or heads(model, outputs=outputs)  # type: ignore[assignment]
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
        "series-cnn": series_cnn,
        "text-cnn": text_cnn,
        "byte-gpt": byte_gpt,
    }
)
