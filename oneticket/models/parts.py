"""The parts of any model, by the names of its parameters: the head, the prunable weights, the sources of noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrize import ParametrizationList

from oneticket.ground.errors import ModelError, unknown
from oneticket.pruning.layers import layout


def head_name(model: nn.Module, *, classes: int | None = None) -> str:
    """The dotted name of the output layer.

    It is what the model's attribute `head_name` says; every model from `build` has it. Without the attribute it is the
    last linear or convolution layer, in the order of registration, with `classes` outputs (any number if None). Raises
    ModelError if there is none.

    >>> head_name(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), classes=3)
    '2'
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}
    named = getattr(model, "head_name", None)
    if named is not None:
        if named not in dict(model.named_modules()):
            raise ModelError(f"{type(model).__name__}: {unknown('output layer', named, layers)}")
        return str(named)
    fitting: list[str] = [name for name, layer in layers.items() if classes in (None, _outputs(layer))]
    if not fitting:
        outputs = "" if classes is None else f" with {classes} outputs"
        raise ModelError(
            f"{type(model).__name__} has no linear or convolution layer{outputs}; name its output layer in the"
            f" model's spec (head) or as its attribute head_name. Layers: {_some(layers)}"
        )
    return fitting[-1]


def head(model: nn.Module, *, classes: int | None = None, head: str | Iterable[str] | None = None) -> tuple[str, ...]:
    """The names of the output layer's parameters, found as `head_name` says; tied ones by the name they go by.

    `head` says what it is where it cannot be found: the layer's name, or its parameters' names; "" or () for none.
    Raises ModelError if there is no such layer or parameter.

    >>> head(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ('2.weight', '2.bias')
    """
    if head is None:
        return _parameters(model, head_name(model, classes=classes))
    if isinstance(head, str):
        layers = dict(model.named_modules())
        if head and head not in layers:
            raise ModelError(f"{type(model).__name__}: {unknown('output layer', head, layers)}")
        return _parameters(model, head) if head else ()
    given, known = tuple(head), _named(model)
    for name in given:
        if name not in known:
            raise ModelError(f"{type(model).__name__}: {unknown('parameter of the output layer', name, known)}")
    return given


_output = head  # where an argument has the function's name


def prunable(
    model: nn.Module, patterns: Sequence[str] = (), head: str | Iterable[str] | None = None
) -> tuple[str, ...]:
    """The names of the weights that may be pruned, in the model's order.

    Without patterns: the weights of linear, convolution, attention and recurrent layers, but neither the head's nor
    what requires no gradient now: weights that nobody trains say nothing of what may go. Patterns
    (`*`, `?`, `[...]`) choose instead among all parameters of two or more dimensions; `!pattern` takes names out of
    what is chosen, or of the default if no pattern chooses. The head, found or given as `head` says, is chosen by its
    full name only, never by a wildcard.

    Raises ModelError for a pattern that matches nothing, and if nothing is left.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> prunable(net), prunable(net, ["!2.*"]), prunable(net, ["4.weight"])
    (('0.weight', '2.weight'), ('0.weight',), ('4.weight',))
    """
    reasons = survey(model, patterns, head)
    left = tuple(name for name, reason in reasons.items() if not reason)
    if not left:
        listed = (f"{name} ({reason})" for name, reason in reasons.items() if reason != FLAT)
        raise ModelError(
            f"{type(model).__name__} has nothing to prune with patterns {list(patterns)}. Weights: {_some(listed)}"
        )
    return left


def survey(model: nn.Module, patterns: Sequence[str] = (), head: str | Iterable[str] | None = None) -> dict[str, str]:
    """Every parameter's name, in the model's order -> "" if it is pruned, else why it stays dense.

    Patterns and head are as for `prunable`. Raises ModelError for a pattern that matches nothing.

    >>> survey(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 2)))["0.weight"]
    'an embedding; name it by a pattern'
    """
    out = set(_output(model, head=head))
    reasons = {name: OUTPUT if name in out else _reason(model, name) for name in _named(model)}
    names = [name for name, weight in model.named_parameters() if weight.dim() >= 2 and reasons[name] != HELD]
    chosen: set[str] = set()
    dropped: set[str] = set()
    for pattern in patterns:
        taken = pattern.startswith("!")
        allowed = names if taken or pattern in names else [name for name in names if name not in out]
        matched = {name for name in allowed if fnmatchcase(name, pattern.removeprefix("!"))}
        if not matched:
            raise ModelError(
                f"prunable: {pattern!r} matches no weight of {type(model).__name__}; the output layer is taken by its"
                f" full name only. Weights: {_some(names)}"
            )
        (dropped if taken else chosen).update(matched)
    if chosen:
        open_names = set(names) - out
        reasons |= {name: "" if name in chosen else UNNAMED for name in open_names | chosen}
    return {name: TAKEN if name in dropped and not why else why for name, why in reasons.items()}


def _parameters(model: nn.Module, layer: str) -> tuple[str, ...]:
    """The names of a layer's parameters, those that it shares with another layer included."""
    held = {id(weight) for weight in model.get_submodule(layer).parameters()}
    found = tuple(name for name, weight in model.named_parameters() if id(weight) in held)
    if not found:
        raise ModelError(f"the output layer {layer!r} of {type(model).__name__} has no parameters of its own")
    return found


def _named(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _reason(model: nn.Module, name: str) -> str:
    """Why a parameter is dense unless a pattern names it; empty if it is not."""
    owner = model.get_submodule(name.rpartition(".")[0])
    if isinstance(owner, ParametrizationList):
        return HELD
    if model.get_parameter(name).dim() < 2:
        return FLAT
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return "an embedding; name it by a pattern"
    if not layout(model, name):
        return "not the weight of a layer that is known; name it by a pattern"
    return "" if model.get_parameter(name).requires_grad else FROZEN


def random_forward(model: nn.Module) -> bool:
    """Whether a forward pass in training may draw random numbers, so that each step must be seeded.

    True for Dropout, RReLU and fractional pooling, for recurrent and attention layers with dropout, and for every
    module that is neither torch.nn's nor ours, since its code is unknown.

    >>> random_forward(nn.Linear(2, 2)), random_forward(nn.Sequential(nn.Dropout(0.5)))
    (False, True)
    """
    return any(_draws(module) for module in model.modules())


def _draws(module: nn.Module) -> bool:
    if isinstance(module, _DropoutNd | nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return True
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0:
        return True
    return not type(module).__module__.startswith(("torch.nn.", "oneticket."))


def _outputs(layer: nn.Linear | _ConvNd) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _some(names: Iterable[str], most: int = 24) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return (", ".join(listed[:most]) or "none") + more


OUTPUT = "the output layer"
FLAT = "one-dimensional"
UNNAMED = "no pattern names it"
TAKEN = "a pattern takes it out"
FROZEN = "frozen, since it requires no gradient; name it by a pattern"
HELD = "its layer's weight is computed from it (a parametrization), so that zeros would not stay"
