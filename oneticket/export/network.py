"""Networks to deploy: copies of a model, in evaluation mode, pruned and without the units that nothing needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.compact import cut
from oneticket.compact.compact import hooked
from oneticket.compact.units import trace
from oneticket.ground.errors import ModelError, PruneError
from oneticket.ground.streams import Streams
from oneticket.ticket.mask import Mask

Example = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""A batch as the model is called with it: one tensor, several, or tensors by the arguments' names."""

NEAR = 1e-5
"""How far outputs may lie apart, of the largest or of 1: the sums of another order."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A network in some form: what of the mask is left in it, how many units went per layer, and what is to be told."""

    network: nn.Module
    mask: Mask
    removed: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def masked(model: nn.Module, mask: Mask) -> Made:
    """A copy of the model in evaluation mode whose pruned weights are exactly zero.

    Raises PruneError if the mask does not fit the model.

    >>> net = nn.Linear(2, 1)
    >>> masked(net, Mask({"weight": torch.tensor([[False, True]])})).network.weight[0, 0].item()
    0.0
    """
    mask.project(dict(model.named_parameters(remove_duplicate=False)))  # names and shapes
    network = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, living in mask.items():
            parameter = network.get_parameter(name)
            parameter.masked_fill_(~living.to(parameter.device), 0)
    return Made(network=network, mask=mask)


def compacted(model: nn.Module, mask: Mask, example: Example) -> Made:
    """The network without the units that cannot reach the output (`compact.units`); kept whole where that is unsure.

    Its outputs were compared with the masked model's. `example` must be one tensor for anything to be left out.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> made = compacted(net, Mask({"2.weight": torch.tensor([[True, False, True]])}), torch.zeros(4, 2))
    >>> made.network[0], dict(made.removed)
    (Linear(in_features=2, out_features=2, bias=True), {'0': 1})
    """
    whole = masked(model, mask)
    if not isinstance(example, Tensor):
        return _whole(whole, "units are only traced in networks with one tensor of inputs")
    if found := hooked(whole.network):
        return _whole(whole, f"{found} has hooks or parametrizations")
    units = trace(whole.network, mask, example)
    made = cut.cuts(whole.network, units)
    if not made:
        return Made(network=whole.network, mask=mask, note=units.note)
    small = cut.smaller(whole.network, made).eval()
    try:
        for each in (example, batch(example, 3)):
            if apart := differs(outputs(whole.network, each), outputs(small, each)):
                return _whole(whole, f"without its units {apart}")
    except Exception as error:  # whatever a user's code says to being made smaller
        return _whole(whole, f"without its units it fails: {type(error).__name__}: {error}")
    left = Mask({name: living[made.get(name, ...)] for name, living in mask.items()})
    return Made(network=small, mask=left, removed=units.removed)


def _whole(made: Made, why: str) -> Made:
    return Made(network=made.network, mask=made.mask, note=f"kept whole: {why}")


def arguments(example: Example) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Positional and named arguments; raises ModelError for anything but tensors with a common first size."""
    named = dict(example) if isinstance(example, Mapping) else {}
    several = tuple(example) if isinstance(example, Sequence) else ()
    positional = (example,) if isinstance(example, Tensor) else several
    tensors = [*positional, *named.values()]
    right = bool(tensors) and all(isinstance(one, Tensor) and one.dim() and len(one) for one in tensors)
    if not right or len({len(one) for one in tensors}) > 1:
        raise ModelError(
            "example: expected a batch as the model takes it: a tensor, several, or tensors by name, of one batch size"
        )
    return positional, named


@torch.no_grad()
def outputs(network: nn.Module, example: Example) -> tuple[Tensor, ...]:
    """All tensors that a network gives, in order, whatever holds them; raises ModelError if it fails or gives none."""
    positional, named = arguments(example)
    try:
        found = _tensors(network(*positional, **named))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{type(network).__name__} fails on the example: {error}") from error
    if not found:
        raise ModelError(f"{type(network).__name__}: expected tensors as outputs, got none")
    return found


def differs(one: Sequence[Tensor], other: Sequence[Tensor]) -> str:
    """How far outputs lie apart, in words; nothing if by rounding alone."""
    if [tuple(tensor.shape) for tensor in one] != [tuple(tensor.shape) for tensor in other]:
        return "its outputs have other shapes"
    for first, second in zip(one, other, strict=True):
        first, second = first.double().cpu(), second.double().cpu()
        apart = float((first - second).abs().max()) if first.numel() else 0.0
        allowed = NEAR * max(1.0, float(first.abs().max()) if first.numel() else 0.0)
        if not apart <= allowed:  # NaN too
            return f"its outputs lie {apart:.2g} apart"
    return ""


def batch(example: Example, count: int) -> Example:
    """`count` rows made of the example's: of numbers noise of its spread, of indices and truth values its own rows."""
    generator = Streams(root=0, replicate=0).generator("shuffle")

    def rows(tensor: Tensor) -> Tensor:
        shape = (count, *tensor.shape[1:])
        if tensor.is_floating_point():
            noise = torch.randn(shape, generator=generator).to(tensor.device, tensor.dtype)
            spread = float(tensor.float().std()) if tensor.numel() > 1 else 0.0
            return noise * spread if spread > 0 else noise
        return tensor[torch.arange(count, device=tensor.device) % len(tensor)]

    positional, named = arguments(example)
    made = [rows(tensor) for tensor in positional]
    if isinstance(example, Mapping):
        return {name: rows(tensor) for name, tensor in named.items()}
    return made[0] if isinstance(example, Tensor) else made


def linears(network: nn.Module, mask: Mask) -> dict[str, Any]:
    """The plain linear layers, by name, that lost weights of their own: those that have other forms.

    Raises PruneError if there are none.
    """
    found = {}
    for name, count in mask.counts.items():
        owner, _, last = name.rpartition(".")
        layer = network.get_submodule(owner)
        if type(layer) is nn.Linear and last == "weight" and owner and count < layer.weight.numel():
            found[owner] = layer
    if not found:
        raise PruneError("no linear layer lost a weight, so none has a sparse form; ask for dense, compact or onnx")
    return found


def _tensors(found: object) -> tuple[Tensor, ...]:
    if isinstance(found, Tensor):
        return (found,)
    parts = found.values() if isinstance(found, Mapping) else found if isinstance(found, list | tuple) else ()
    return tuple(tensor for part in parts for tensor in _tensors(part))
