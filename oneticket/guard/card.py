"""What a notebook shows of a guard. It looks at nothing but the mask: `audit` checks the weights."""

from __future__ import annotations

from oneticket.ground.card import Card
from oneticket.guard.guard import Guard, attached
from oneticket.ticket.cards import layers
from oneticket.ticket.describe import percent


def of_guard(guard: Guard) -> Card:
    """Whether it holds, by which rule, and what."""
    mask, holds = guard.mask, guard in attached()
    facts = [
        ("state", "attached: pruned weights are held at zero" if holds else "detached: it holds nothing any more"),
        ("rule", guard.rule),
        ("density", f"{percent(mask.density)}: {mask.remaining:,} of {mask.total:,} weights remain"),
        ("held", f"{len(guard.parameters())} of {len(mask)} tensors" if mask else ""),
    ]
    return Card(title="Guard", facts=facts, parts=[layers(mask)] if mask else [])
