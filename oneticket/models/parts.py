"""The parts of any model, by the names of its parameters: the head, the prunable weights, the sources of noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrize import ParametrizationList

from oneticket.apply.named_tensors import tensors
from oneticket.apply.outputs import traced
from oneticket.ground.errors import ModelError, WrongModelError, unknown
from oneticket.pruning.layers import layout
from oneticket.ticket.heads import Heads, flat


def heads(
    model: nn.Module,
    *,
    outputs: int | None = None,
    head: str | Iterable[str] | None = None,
    example: object = None,
) -> Heads:
    """The names of the tensors of each output's last layers, found by where the outputs come from.

    One forward pass on `example` shows it: a tensor, a tuple of arguments, or a mapping of keyword arguments.
    Transformers' models on the CPU have an example of their own. Without an example it is the model's attribute
    `head_name`, which every model from `build` has, or else a guess: the last registered linear or convolution layer
    with this number of `outputs` (any number if None).

    `head` names it where it cannot be found: a layer; several layers, one for each output; or tensors. "" or () means
    no head. Raises ModelError if there is no such layer or tensor, or nothing to guess.

    >>> import torch
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.out, self.hidden = nn.Linear(8, 3), nn.Linear(4, 8)
    ...     def forward(self, rows):
    ...         return self.out(self.hidden(rows).relu())
    >>> heads(Net(), example=torch.ones(2, 4)), heads(Net()), heads(Net(), head="out")
    ((('out.weight', 'out.bias'),), (('hidden.weight', 'hidden.bias'),), (('out.weight', 'out.bias'),))
    """
    found = known_heads(model, head=head, example=example)
    return last_registered(model, outputs) if found is None else found


def known_heads(
    model: nn.Module, *, head: str | Iterable[str] | None = None, example: object = None, own: bool = True
) -> Heads | None:
    """As `heads`, but None instead of a guess; without an example of Transformers' `own` if asked."""
    named = head if head is not None else getattr(model, "head_name", None) if example is None else None
    if named is not None:
        return _given(model, named)
    if example is None and own:
        example = _own_example(model)
        with suppress(ModelError):  # theirs need not fit: a model of sounds has words for an example
            return traced(model, example) if example is not None else None
        return None
    return traced(model, example) if example is not None else None


def last_registered(model: nn.Module, outputs: int | None = None) -> Heads:
    """A guess: the last linear or convolution layer, with that many outputs; raises ModelError if there is none."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}
    fitting: list[str] = [name for name, layer in layers.items() if outputs in (None, _outputs(layer))]
    if not fitting:
        wanted = "" if outputs is None else f" with {outputs} outputs"
        raise WrongModelError(
            f"{type(model).__name__} has no linear or convolution layer{wanted}; name its output layer in the"
            f" model's spec (head) or as its attribute head_name. Layers: {_some(layers)}"
        )
    return (_within(model, fitting[-1]),)


def head(model: nn.Module, *, outputs: int | None = None) -> tuple[str, ...]:
    """The names of all output layers' tensors, found as in `heads`.

    >>> head(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ('2.weight', '2.bias')
    """
    return flat(heads(model, outputs=outputs))


def prunable(
    model: nn.Module,
    patterns: Sequence[str] = (),
    head: str | Iterable[str] | None = None,
    example: object = None,
) -> tuple[str, ...]:
    """The names of the weights that may be pruned, in the model's order.

    Without patterns: the weights of linear, convolution, attention and recurrent layers, except the head's and those
    that require no gradient, since untrained weights do not show which to prune. Patterns (`*`, `?`, `[...]`) choose
    instead among all parameters of two or more dimensions; `!pattern` removes names from the choice, or from the
    default if no pattern chooses. The head, found as in `heads` or given, is chosen by its full name only, never by a
    wildcard.

    Raises ModelError for a pattern that matches nothing, and if nothing is left.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> prunable(net), prunable(net, ["!2.*"]), prunable(net, ["4.weight"])
    (('0.weight', '2.weight'), ('0.weight',), ('4.weight',))
    """
    return prunable_names(model, patterns, survey(model, patterns, head, example))


def prunable_names(model: nn.Module, patterns: Sequence[str], reasons: Mapping[str, str]) -> tuple[str, ...]:
    """The names without a reason to stay dense; raises ModelError if there is none."""
    left = tuple(name for name, reason in reasons.items() if not reason)
    if not left:
        listed = (f"{name} ({reason})" for name, reason in reasons.items() if reason != FLAT)
        raise WrongModelError(
            f"{type(model).__name__} has nothing to prune with patterns {list(patterns)}. Weights: {_some(listed)}"
        )
    return left


def survey(
    model: nn.Module,
    patterns: Sequence[str] = (),
    head: str | Iterable[str] | None = None,
    example: object = None,
) -> dict[str, str]:
    """Every parameter's name, in the model's order -> "" if it may be pruned, else why it stays dense.

    Patterns and head are as for `prunable`; the reason says where the output layer was only guessed. Raises ModelError
    for a pattern that matches nothing.

    >>> survey(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 2)))["0.weight"]
    'an embedding; name it by a pattern'
    """
    known = known_heads(model, head=head, example=example)
    return reasons(model, patterns, heads(model) if known is None else known, GUESS if known is None else OUTPUT)


def reasons(model: nn.Module, patterns: Sequence[str], heads: Heads, output: str) -> dict[str, str]:
    """As `survey`, where the heads are known; `output` is the reason of what is in them."""
    found = dict(model.named_parameters(remove_duplicate=False))
    ids = {id(found[name]) for name in flat(heads) if name in found}
    out = {name for name, weight in model.named_parameters() if id(weight) in ids}
    why = {name: output if name in out else _reason(model, name) for name in _named(model)}
    names = [name for name, weight in model.named_parameters() if weight.dim() >= 2 and why[name] != HELD]
    chosen: set[str] = set()
    dropped: set[str] = set()
    for pattern in patterns:
        taken = pattern.startswith("!")
        allowed = names if taken or pattern in names else [name for name in names if name not in out]
        matched = {name for name in allowed if fnmatchcase(name, pattern.removeprefix("!"))}
        if not matched:
            raise WrongModelError(
                f"prunable: {pattern!r} matches no weight of {type(model).__name__}; the output layer is taken by its"
                f" full name only. Weights: {_some(names)}"
            )
        (dropped if taken else chosen).update(matched)
    if chosen:
        open_names = set(names) - out
        why |= {name: "" if name in chosen else UNNAMED for name in open_names | chosen}
    return {name: TAKEN if name in dropped and not said else said for name, said in why.items()}


def _given(model: nn.Module, head: str | Iterable[str | Iterable[str]]) -> Heads:
    """The heads as the user names them: layers, each a head; or tensors, together one head."""
    layers, known = dict(model.named_modules(remove_duplicate=False)), tensors(model)
    given = ([head] if head else []) if isinstance(head, str) else list(head)
    groups: list[tuple[str, ...]] = []
    loose: list[str] = []
    for name in given:
        if not isinstance(name, str):
            groups += _given(model, name) or ((),)
        elif name in known:
            loose.append(name)
        elif name in layers:
            groups.append(_within(model, name))
        else:
            one = isinstance(head, str)
            said = (
                unknown("output layer", name, filter(None, layers)) if one else unknown("layer or tensor", name, known)
            )
            raise WrongModelError(f"{type(model).__name__}: {said}")
    return tuple(dict.fromkeys([tuple(loose)] * bool(loose) + groups))


def _within(model: nn.Module, layer: str) -> tuple[str, ...]:
    """The names of a layer's parameters and saved buffers."""
    found = tuple(name for name in tensors(model) if not layer or name.startswith(f"{layer}."))
    if not found:
        raise WrongModelError(f"the output layer {layer!r} of {type(model).__name__} has no parameters of its own")
    return found


def _own_example(model: nn.Module) -> object:
    """The inputs that Transformers' models have with them, which are on the CPU."""
    if not type(model).__module__.startswith("transformers.") or any(
        p.device.type != "cpu" for p in model.parameters()
    ):
        return None
    return getattr(model, "dummy_inputs", None)


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
GUESS = "taken for the output layer, as the last that was registered; an example= shows which it is"
FLAT = "one-dimensional"
UNNAMED = "no pattern names it"
TAKEN = "a pattern takes it out"
FROZEN = "frozen, since it requires no gradient; name it by a pattern"
HELD = "its layer's weight is computed from it (a parametrization), so that zeros would not stay"
