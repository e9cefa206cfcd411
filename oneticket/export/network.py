"""Networks to deploy: copies of a model in evaluation mode, pruned and without dead units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from oneticket.compact import cut
from oneticket.compact.compact import hooked
from oneticket.compact.units import Stop, trace
from oneticket.export.agreement import differs, tolerance
from oneticket.export.example import Example, arguments, batch, outputs
from oneticket.export.plain import duplicate
from oneticket.ground.errors import WrongPruneError
from oneticket.ticket.mask import Mask


@dataclass(frozen=True, kw_only=True)
class Made:
    """A network in some form: the rest of its mask, how many units were removed per layer, and remarks.

    `stopped`: dead units that cannot be removed, with the layer that prevents it.
    """

    network: nn.Module
    mask: Mask
    removed: Mapping[str, int] = field(default_factory=dict)
    stopped: Sequence[Stop] = ()
    note: str = ""


def masked(model: nn.Module, mask: Mask) -> Made:
    """A copy of the model in evaluation mode whose pruned weights are exactly zero.

    Raises PruneError if the mask does not fit the model.

    >>> net = nn.Linear(2, 1)
    >>> masked(net, Mask({"weight": torch.tensor([[False, True]])})).network.weight[0, 0].item()
    0.0
    """
    mask.check(dict(model.named_parameters(remove_duplicate=False)))
    network = duplicate(model).eval()
    parameters = dict(network.named_parameters(remove_duplicate=False))  # TorchScript has no get_parameter
    with torch.no_grad():
        for name, remaining in mask.items():
            parameter = parameters[name]
            parameter.masked_fill_(~remaining.to(parameter.device), 0)
    return Made(network=network, mask=mask)


def unpruned(model: nn.Module, mask: Mask) -> Made:
    """A copy of the model in evaluation mode in which no pruned weight is zero, for programs that skip zeros.

    Training under a mask leaves zeros in pruned places. They get a value too small to matter, and large enough to cost
    what any other number does.

    >>> net = nn.Linear(2, 1)
    >>> pruned = masked(net, Mask({"weight": torch.tensor([[False, True]])}))
    >>> unpruned(pruned.network, pruned.mask).network.weight.count_nonzero().item()
    2
    """
    made = masked(model, Mask.full(mask))
    parameters = dict(made.network.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, remaining in mask.items():
            parameter = parameters[name]
            parameter.masked_fill_(~remaining.to(parameter.device) & (parameter == 0), SMALL)
    return made


def compacted(model: nn.Module, mask: Mask, example: Example) -> Made:
    """The network without dead units (`compact.units`); kept whole where that is unsure.

    Its outputs were compared with the masked model's. The note says which layers keep dead units.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> made = compacted(net, Mask({"2.weight": torch.tensor([[True, False, True]])}), torch.zeros(4, 2))
    >>> made.network[0], dict(made.removed)
    (Linear(in_features=2, out_features=2, bias=True), {'0': 1})
    """
    whole = masked(model, mask)
    if found := hooked(whole.network):
        return _whole(whole, f"{found} has hooks or parametrizations")
    (positional, named), near = arguments(example), tolerance(whole.network, example)
    units = trace(whole.network, mask, *positional, training=False, **named)
    note = units.note or "; ".join(map(str, units.stopped))
    made = cut.cuts(whole.network, units.kept)
    if not made:
        return Made(network=whole.network, mask=mask, stopped=units.stopped, note=note)
    small = cut.smaller(whole.network, made).eval()
    try:
        for each in (example, batch(example, 3)):
            if apart := differs(outputs(whole.network, each), outputs(small, each), near=near):
                return _whole(whole, f"without its units {apart}")
    except Exception as error:  # any error of the user's code on smaller shapes
        return _whole(whole, f"without its units it fails: {type(error).__name__}: {error}")
    left = Mask({name: remaining[made.get(name, ...)] for name, remaining in mask.items()})
    return Made(network=small, mask=left, removed=units.removed, stopped=units.stopped, note=note)


def _whole(made: Made, why: str) -> Made:
    return Made(network=made.network, mask=made.mask, note=f"kept whole: {why}")


def linears(network: nn.Module, mask: Mask) -> dict[str, Any]:
    """The plain linear layers with pruned weights, by name: the layers that have other forms.

    Raises PruneError if there are none.
    """
    found, layers = {}, dict(network.named_modules(remove_duplicate=False))
    for name, count in mask.counts.items():
        owner, _, last = name.rpartition(".")
        layer = layers[owner]
        if type(layer) is nn.Linear and last == "weight" and owner and count < layer.weight.numel():
            found[owner] = layer
    if not found:
        raise WrongPruneError(
            "no linear layer lost a weight, so none has a sparse form; ask for dense, compact or onnx"
        )
    return found


SMALL = 1e-6
"""A weight that changes outputs by less than rounding does, or by little more."""
