"""The parts of any model, by the names of its parameters: the head, the prunable weights, the sources of noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from oneticket.ground.errors import ModelError, unknown


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


def head(model: nn.Module, *, classes: int | None = None) -> tuple[str, ...]:
    """The names of the output layer's parameters, found as `head_name` says.

    >>> head(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ('2.weight', '2.bias')
    """
    layer = head_name(model, classes=classes)
    names = [name for name, _ in model.named_parameters()]
    found = tuple(name for name in names if name.rpartition(".")[0] == layer or name.startswith(f"{layer}."))
    if not found:
        raise ModelError(f"the output layer {layer!r} of {type(model).__name__} has no parameters of its own")
    return found


def prunable(model: nn.Module, patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of the weights that may be pruned, in the model's order.

    Without patterns: the weights of linear and convolution layers, but not the head's. Patterns (`*`, `?`, `[...]`)
    choose instead among all parameters of two or more dimensions; `!pattern` takes names out of what is chosen, or of
    the default if no pattern chooses. The head is chosen by its full name only, never by a wildcard. Raises ModelError
    for a pattern that matches nothing, and if nothing is left.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> prunable(net), prunable(net, ["!2.*"]), prunable(net, ["4.weight"])
    (('0.weight', '2.weight'), ('0.weight',), ('4.weight',))
    """
    names = [name for name, weight in model.named_parameters() if weight.dim() >= 2]
    out = head(model)
    open_names = [name for name in names if name not in out]
    chosen: set[str] = set()
    dropped: set[str] = set()
    for pattern in patterns:
        taken = pattern.startswith("!")
        allowed = names if taken or pattern in names else open_names
        matched = {name for name in allowed if fnmatchcase(name, pattern.removeprefix("!"))}
        if not matched:
            raise ModelError(
                f"prunable: {pattern!r} matches no weight of {type(model).__name__}; the output layer is taken by its"
                f" full name only. Weights: {_some(names)}"
            )
        (dropped if taken else chosen).update(matched)
    if not chosen:
        chosen = {name for name in open_names if _is_layer_weight(model, name)}
    left = tuple(name for name in names if name in chosen - dropped)
    if not left:
        raise ModelError(
            f"{type(model).__name__} has nothing to prune with patterns {list(patterns)}. Weights: {_some(names)}"
        )
    return left


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


def _is_layer_weight(model: nn.Module, name: str) -> bool:
    owner, _, last = name.rpartition(".")
    return last == "weight" and isinstance(model.get_submodule(owner), nn.Linear | _ConvNd)


def _some(names: Iterable[str], most: int = 24) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return (", ".join(listed[:most]) or "none") + more
