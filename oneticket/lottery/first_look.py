"""What is read of a model before a search begins: its start weights, their zeros, and what stays dense."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from oneticket.ground.errors import SpecError, WrongPruneError
from oneticket.guard.check import named
from oneticket.models.parts import FLAT, TAKEN, UNNAMED
from oneticket.ticket.density import Density, model_weights
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.ticket import Ticket

Start = Ticket | Mapping[str, Tensor] | str | None


def start_mask(
    start: Start, model: nn.Module, prunable_names: Collection[str], dense: Mapping[str, str]
) -> Mask | None:
    """The mask at the start, over all that may be pruned; None for a search that starts dense.

    Raises SpecError for another word than "zeros", GuardError for names that are not the model's, PruneError for a mask
    over weights that the search does not prune or of another shape.
    """
    if start is None:
        return None
    found = {name: model.get_parameter(name).detach() for name in prunable_names}
    if isinstance(start, str):
        if start != "zeros":
            raise SpecError(f"start: expected a ticket, a mask, or 'zeros', got {start!r}")
        return Mask({name: (weight != 0).cpu() for name, weight in found.items()})
    given = start.mask if isinstance(start, Ticket) else start
    mask = named(model, given if isinstance(given, Mask) else Mask(given))
    if strange := [name for name in mask if name not in found]:
        raise WrongPruneError(
            f"start: its mask has {strange[0]}, which this search does not prune: {dense[strange[0]]}; name it by "
            "prunable="
        )
    shapes = {name: tuple(weight.shape) for name, weight in found.items()}
    if wrong := [name for name, shape in mask.shapes.items() if shape != shapes[name]]:
        raise WrongPruneError(
            f"start: the mask of {wrong[0]} is {mask.shapes[wrong[0]]}, the weight {shapes[wrong[0]]}"
        )
    return Mask({**Mask.full(shapes), **mask})


def tell_zeros(weights: Mapping[str, Tensor], prunable_names: Collection[str]) -> None:
    """Warn, as level 0 opens, of a network that was pruned before: trained whole, it lets what was pruned grow back.

    A tensor of nothing but zeros is new and no sign of it.
    """
    counts = {name: int((weights[name] == 0).count_nonzero()) for name in prunable_names}
    some = {name: zeros for name, zeros in counts.items() if 0 < zeros < weights[name].numel()}
    share = sum(some.values()) / max(1, sum(weights[name].numel() for name in prunable_names))
    if share >= MANY_ZEROS:
        warnings.warn(
            f"{100 * share:.3g} % of the weights that may be pruned are exactly zero already ({listed(some)}), and "
            "level 0 trains them like all others, so that they do not stay zero; start='zeros' keeps them pruned, and "
            "a "
            "ticket or a mask as start= says which weights remain",
            stacklevel=4,
        )


def tell_dense(model: nn.Module, dense: Mapping[str, str], sparsest: float) -> None:
    """Warn once if most of a model stays dense without being asked to, since the density does not show it.

    `sparsest`: the density of the prunable weights at the last level.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    whole, total = model_weights(model), sum(size for name, size in sizes.items() if name not in dense)
    left = {name: sizes[name] for name, why in dense.items() if why not in (FLAT, TAKEN, UNNAMED)}
    if sum(left.values()) <= LARGE * whole:
        return
    most = sorted(left, key=lambda name: -left[name])[:3]
    named = "; ".join(f"{name}, {left[name]:,}: {dense[name]}" for name in most)
    counts = Density(remaining=round(sparsest * total), total=total, whole=whole)
    warnings.warn(
        f"most of the model's weights stay dense ({named}): at the last level, {counts}; prunable= names what else is "
        "to be pruned",
        stacklevel=3,
    )


MANY_ZEROS = 0.1
"""A share of exact zeros that training does not leave by itself."""

LARGE = 0.5
"""A share of the model's weights."""
