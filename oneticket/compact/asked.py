"""Gradients that are asked for by a model's own parameters, while a smaller network trains in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from oneticket.ground.errors import GuardError

if TYPE_CHECKING:
    from oneticket.compact.mirror import Pair

Links = Sequence["Pair | None"]
"""What each of the given tensors mirrors, or None."""


def leaves(given: Sequence[Any], links: Links) -> tuple[Any, ...]:
    """For `backward(inputs=...)`: the network's parameters in the place of the model's, each once.

    Where units were removed, the rest of them is stepped with the parameter, and so gets its gradient with it.
    """
    found: dict[int, Any] = {}
    for one, link in zip(given, links, strict=True):
        here = [one] if link is None else [link.part] if link.lost is None else [link.part, link.mirrors.orphans]
        found.update({id(leaf): leaf for leaf in here if leaf is not None})
    return tuple(found.values())


def gradients(outputs: Any, given: Sequence[Any], links: Links, rest: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What `torch.autograd.grad` gives by the network's parameters, in the sizes of the model's.

    Zero where weights are pruned, and for removed units, which reach no loss.
    """
    if named.get("is_grads_batched"):
        name = next(link.name for link in links if link is not None)
        raise GuardError(f"{name}: is_grads_batched is not supported by a parameter that mirrors a smaller network's")
    by = [one if link is None else link.part for one, link in zip(given, links, strict=True)]
    found = torch.autograd.grad(outputs, by, *rest, **named)
    return tuple(
        gradient if gradient is None or link is None else _whole(gradient, link)
        for gradient, link in zip(found, links, strict=True)
    )


def refuse_averaging(whole: Tensor, name: str) -> None:
    """Raise GuardError within a DistributedDataParallel of the model, which would wait for this gradient."""
    wrapper = DistributedDataParallel._active_ddp_module
    if wrapper is not None and any(one is whole for one in wrapper.module.parameters()):
        raise GuardError(
            f"{name}: DistributedDataParallel averages the gradients of the model's own parameters, but gradients go "
            "to the smaller network that trains in its place; wrap that (`network`) instead"
        )


def _whole(gradient: Tensor, link: Pair) -> Tensor:
    whole, mask = link.expanded(gradient, None), link.mirrors.small.whole
    return whole if link.name not in mask else whole.masked_fill(~mask[link.name].to(whole.device), 0.0)
