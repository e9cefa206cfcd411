"""Holding a ticket's mask in a model whose names may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from oneticket.apply.apply import plan
from oneticket.apply.confirm import confirm
from oneticket.ground.errors import TransferError
from oneticket.guard import guard
from oneticket.guard.guard import Guard
from oneticket.ticket import shards
from oneticket.ticket.ticket import Ticket


def attach(
    ticket: Ticket,
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    head: str = "fresh",
    names: Mapping[str, str | None] | None = None,
    fresh: Sequence[str] = (),
    rule: str = "gate+project",
) -> Guard:
    """See `Ticket.attach`."""
    try:
        applied = plan(ticket, model, head=head, names=names, fresh=fresh)
    except TransferError as error:
        # Where ranks share the model, the other ranks wait for this message.
        if isinstance(model, nn.Module):
            shards.agree(model, f"{type(error).__name__}: {error}")
        raise
    held = guard.attach(model, optimizer, applied.mask, rule=rule)
    if head == "fresh" and ticket.contract.heads:
        confirm(ticket, model, applied)
    return held
