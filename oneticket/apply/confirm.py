"""Check at the first forward pass that a model's outputs come from the layers that a ticket's contract names."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from torch import nn

from oneticket.apply.apply import Applied
from oneticket.apply.graph import Found
from oneticket.apply.watch import Watch
from oneticket.ticket.names import listed

if TYPE_CHECKING:
    from oneticket.ticket.ticket import Ticket


def confirm(ticket: Ticket, model: nn.Module, applied: Applied) -> None:
    """Warn at the model's first forward pass if its outputs come from what the ticket gave its values.

    Older versions took the last layer registered for the output layer, which then stays new, and a hidden one with it.
    """
    theirs = {goal: name for name, goal in applied.names.items()}
    named, fresh = ticket.contract.head_names, listed(applied.fresh)

    def compare(found: Found) -> None:
        right = [theirs[name] for head in found.heads for name in head if name in theirs and name in found.last]
        wrong = [name for name in right if name not in named]
        if wrong:
            warnings.warn(
                f"the outputs of {type(model).__name__} come from {listed(wrong)}, which the ticket gave its values, "
                f"and {fresh} stayed new: its contract takes {listed(named)} for the output layer. If that is wrong: "
                f"ticket = ticket.with_head({', '.join(map(repr, right))}), then apply and attach again",
                stacklevel=2,
            )

    Watch(model, model, compare)
