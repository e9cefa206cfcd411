"""Carrying: a ticket's weights written into somebody's model, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from oneticket.ground.errors import CarryError, unknown
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed, prefix_hint

if TYPE_CHECKING:
    from oneticket.ticket.ticket import Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What came of carrying a ticket.

    - `matched`: names that now hold the ticket's values.
    - `fresh`: head names that stayed as the model had them, new and random.
    - `left`: names in the ticket that were not used.
    - `mask`: the mask to hold in this model.
    """

    matched: tuple[str, ...]
    fresh: tuple[str, ...]
    left: tuple[str, ...]
    mask: Mask

    @property
    def density(self) -> float:
        """The density of the mask to hold."""
        return self.mask.density

    def __str__(self) -> str:
        live = f"{self.mask.living:,} of {self.mask.total:,} weights live, density {self.density:.4g}"
        return f"carried {len(self.matched)} tensors ({live}); fresh: {listed(self.fresh)}; left: {listed(self.left)}"


def apply(ticket: Ticket, model: nn.Module, *, head: str = "fresh") -> Carried:
    """Write the ticket's parameters and buffers into the model in place, by name and shape.

    `head` says what becomes of the output layer, `ticket.contract.head`: "fresh" leaves the model's own as it is,
    "keep" takes the ticket's values and holds no mask there, "sparse" takes the values and the mask. Device, dtype,
    memory format and requires_grad stay the model's. Raises CarryError when anything does not fit, with the model
    untouched. From Morcos et al. 2019, arXiv 1906.02773.

    >>> from oneticket.ticket.contract import Contract
    >>> from oneticket.ticket.ticket import Ticket
    >>> source, target = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    >>> ticket = Ticket(mask=Mask({"weight": torch.tensor([True, False])}), weights=source.state_dict(),
    ...                 contract=Contract(rewind="0it", step=0, head=("bias",)))
    >>> print(apply(ticket, target))
    carried 4 tensors (1 of 2 weights live, density 0.5); fresh: bias; left: bias
    """
    if not isinstance(model, nn.Module):
        raise CarryError(f"expected a torch module, got {type(model).__name__}")
    kept = mask(ticket, head=head)
    names = set(ticket.contract.head)
    found = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    fresh = names if head == "fresh" else set()
    values = {name: value for name, value in ticket.weights.items() if name not in fresh}
    _check_names(set(values) | fresh, set(found))
    targets = {name: found[name] for name in values}
    _check_values(values, targets)
    with torch.no_grad():
        for name, value in values.items():
            targets[name].copy_(value)
    left = tuple(name for name in ticket.weights if name in fresh)
    return Carried(matched=tuple(values), fresh=tuple(sorted(fresh)), left=left, mask=kept)


def mask(ticket: Ticket, *, head: str = "fresh") -> Mask:
    """The mask to hold after `apply` with the same `head`: the head's own part only if "sparse"; raises CarryError."""
    if head not in HEADS:
        raise CarryError(unknown("head policy", head, HEADS))
    names = ticket.contract.head
    if head == "fresh" and not names:
        raise CarryError(
            "head='fresh': the ticket's contract names no head, so nothing can be left fresh; use head='keep'"
        )
    if head == "sparse" and not any(name in ticket.mask for name in names):
        raise CarryError(
            f"head='sparse': the ticket has no mask on its head ({listed(names)}); use head='keep' or head='fresh'"
        )
    return ticket.mask if head == "sparse" else ticket.mask.without(names)


def _check_names(wanted: set[str], found: set[str]) -> None:
    missing, surplus = wanted - found, found - wanted
    if missing or surplus:
        raise CarryError(
            f"ticket and model do not have the same names; only in the ticket: {listed(missing)}; "
            f"only in the model: {listed(surplus)}{prefix_hint(wanted, found)}"
        )


def _check_values(values: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    wrong, first = [], dict[int, str]()
    for name, value in values.items():
        target = targets[name]
        if is_lazy(target) or target.is_meta:
            wrong.append(f"{name}: the model's tensor has no values yet; materialise it first")
        elif target.shape != value.shape:
            wrong.append(f"{name}: ticket {tuple(value.shape)}, model {tuple(target.shape)}")
        elif target.is_floating_point() != value.is_floating_point():
            wrong.append(f"{name}: ticket {value.dtype}, model {target.dtype}")
        elif not torch.equal(value, values[first.setdefault(id(target), name)]):
            wrong.append(f"{name}: tied to {first[id(target)]} in the model, but the ticket has other values for it")
    if wrong:
        more = f"\nand {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise CarryError("ticket and model do not fit, nothing was written:\n" + "\n".join(wrong[:8]) + more)


HEADS = ("fresh", "keep", "sparse")
