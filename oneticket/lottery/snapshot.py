"""What a search reads and keeps of the user's model: its tensors by their names without wrappers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from oneticket.apply.named_tensors import tensors
from oneticket.ground.errors import WrongModelError, WrongPruneError
from oneticket.ticket.match import WRAPPERS
from oneticket.ticket.names import listed
from oneticket.ticket.shards import sharded
from oneticket.ticket.values import held


def unwrapped(model: nn.Module) -> nn.Module:
    """The module within wrappers such as DDP's and torch.compile's, which have no tensors; ModelError if it is none.

    >>> unwrapped(nn.DataParallel(nn.Linear(2, 2)))
    Linear(in_features=2, out_features=2, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise WrongModelError(f"expected a torch module, got {type(model).__name__}")
    while len(model._modules) == 1 and not {**model._parameters, **model._buffers}:
        ((name, inner),) = model._modules.items()
        if inner is None or name not in WRAPPERS:
            break
        model = inner
    return model


def live(model: nn.Module) -> dict[str, Tensor]:
    """Its own parameters and saved buffers by name.

    Raises ModelError for tensors without values, and PruneError for those that ranks share.
    """
    found = tensors(model)
    if empty := [name for name, value in found.items() if is_lazy(value) or value.is_meta]:
        raise WrongModelError(
            f"{listed(empty)}: no values yet; materialise the model first, by a forward pass or to_empty"
        )
    if shards := [name for name, value in found.items() if sharded(value)]:
        raise WrongPruneError(
            f"{listed(shards)}: sharded over ranks, and no rank can rank weights that it does not hold; search with "
            "DDP or on one device, and shard the model when you train the ticket"
        )
    return found


def kept(model: nn.Module, pruned: Iterable[str]) -> Mapping[str, Tensor]:
    """Copies on the CPU; what is tied to a pruned weight comes once, under the weight's name.

    Raises PruneError for values that no file could hold, or that are not finite.
    """
    found = live(model)
    names = {id(found[name]): name for name in pruned}
    return held({name: value for name, value in found.items() if names.get(id(value), name) == name}, "search")


def kept_for(model: nn.Module, pruned: Iterable[str], copies: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The same copies by the names that `kept` gives where these weights are pruned."""
    found = live(model)
    values = {id(found[name]): value for name, value in copies.items()}
    names = {id(found[name]): name for name in pruned}
    return {name: values[id(found[name])] for name in sorted(found) if names.get(id(found[name]), name) == name}
