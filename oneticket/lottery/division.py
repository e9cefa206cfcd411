"""What a search divides a model into: output layers, what stays dense and why, and the weights that it may prune."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn

from oneticket.apply.graph import Found
from oneticket.apply.named_tensors import tensors
from oneticket.apply.outputs import looked_at
from oneticket.ground.errors import OneticketError, WrongModelError
from oneticket.lottery.loop_settings import names
from oneticket.models.parts import GUESS, OUTPUT, known_heads, last_registered, prunable_names, reasons
from oneticket.ticket.contract import Contract
from oneticket.ticket.heads import Heads, flat, grouped, read, simplest
from oneticket.ticket.names import listed
from oneticket.ticket.ticket import Ticket


@dataclass(frozen=True, kw_only=True)
class Division:
    """`heads` per output; `guessed`: whether they are the last registered layer, until a forward pass shows them.

    `reached`: the parameters that a gradient reached in the observed passes; None without any.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    >>> Division.of(net, [], head="0").prunable_names, Division.of(net, [], head="0").dense["0.weight"]
    (('1.weight',), 'the output layer')
    """

    model: nn.Module
    patterns: Sequence[str]
    heads: Heads
    guessed: bool
    reached: Collection[str] | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        patterns: Sequence[str],
        *,
        head: str | Sequence[str] | None,
        example: object = None,
        start: object = None,
    ) -> Self:
        """The division given by `head`, shown by one forward pass on the example, or named by a ticket to start from.

        Raises ModelError, and SpecError for a `head` that is no name.
        """
        if head is not None:
            names("head", head)
        elif example is not None:
            if (found := looked_at(model, example)) is None:
                raise WrongModelError(
                    "example: its forward pass does not show where the outputs come from; name them by head="
                )
            return cls(model=model, patterns=patterns, heads=found.heads, guessed=False, reached=found.reached)
        elif isinstance(start, Ticket) and _names_heads(start, model):
            return cls(model=model, patterns=patterns, heads=start.contract.heads, guessed=False)
        known = known_heads(model, head=head, own=False)
        heads = last_registered(model) if known is None else known
        return cls(model=model, patterns=patterns, heads=heads, guessed=known is None)

    def found(self, shown: Found) -> Self:
        """The same with the heads that forward passes show."""
        return replace(self, heads=shown.heads, guessed=False, reached=shown.reached)

    def tell_unreached(self, *, stacklevel: int) -> Self:
        """Warn once about weights that no gradient reached, since they may belong to an output layer."""
        if self.reached is None:
            return self
        if lost := [name for name in self.prunable_names if name not in self.reached]:
            warnings.warn(
                f"no gradient reaches {listed(lost)} in the forward passes that were looked at, and the search prunes "
                "what was not trained like all else; if outputs come from there, name all output layers by head=; what "
                "stays unused is taken out by prunable=['!name']",
                stacklevel=stacklevel + 1,
            )
        return replace(self, reached=None)

    def doubt(self, found: Found) -> None:
        """Warn where outputs come from what is pruned, because the ticket that the search starts from names others."""
        wrong = [name for name in flat(found.heads) if name in self.prunable_names and name in found.last]
        if wrong:
            warnings.warn(
                f"the outputs of {type(self.model).__name__} come from {listed(wrong)}, which the search prunes: the "
                f"ticket that it starts from takes {listed(flat(self.heads))} for the output layer. If that is wrong: "
                f"apply the ticket, and search with start=ticket.mask.without({set(wrong)!r}), "
                f"head={flat(found.heads)!r}",
                stacklevel=2,
            )

    def said(self, state: Mapping[str, Any], *, first: int) -> Self:
        """The same with the heads that a search's state names, where they were only guessed here.

        A state of the first level may have them from a guess of its own.
        """
        try:
            heads = grouped(read(state["facts"]["search"]["head"]))
            return replace(self, heads=heads, guessed=state["facts"]["level"] <= first) if self.guessed else self
        except (KeyError, TypeError, OneticketError):
            return self  # the state's reader reports what is wrong with it

    def settled(self, *, tell: bool) -> Self:
        """Accept a guess for good; with a warning if `tell`."""
        if self.guessed and tell:
            warnings.warn(
                f"no forward pass through {type(self.model).__name__} showed where its outputs come from; "
                f"{listed(flat(self.heads))} was taken for the output layer, as the last that was registered; give "
                "Search example= or head=",
                stacklevel=4,
            )
        return replace(self, guessed=False)

    def check_in_time(self, guess: Heads, *, sparse: bool) -> None:
        """Raise ModelError where the guess was wrong and weights were pruned by it already."""
        if sparse:
            raise WrongModelError(
                f"the outputs of {type(self.model).__name__} come from {listed(flat(self.heads))}, and not from "
                f"{listed(flat(guess))}, as was guessed; a search that starts sparse has to know it before its first "
                f"pass: give Search head={flat(self.heads)!r}, or example="
            )

    def contract(self, rewind: str, step: int, kept: Collection[str]) -> Contract:
        """That of a ticket with these tensors; schedule and data order are the loop's own affair."""
        # A tensor that is tied to a pruned one is kept under the other's name.
        head = simplest(tuple(tuple(name for name in names if name in kept) for names in self.heads))
        return Contract(rewind=rewind, step=step, schedule="caller", order="caller", head=head)

    @property
    def reasons(self) -> dict[str, str]:
        """Every parameter's name -> "" if it may be pruned, else why it stays dense."""
        return reasons(self.model, self.patterns, self.heads, GUESS if self.guessed else OUTPUT)

    @property
    def dense(self) -> dict[str, str]:
        """What stays dense, and why."""
        return {name: reason for name, reason in self.reasons.items() if reason}

    @property
    def prunable_names(self) -> tuple[str, ...]:
        """What may be pruned; raises ModelError if that is nothing."""
        return prunable_names(self.model, self.patterns, self.reasons)


def _names_heads(ticket: Ticket, model: nn.Module) -> bool:
    return bool(ticket.contract.heads) and {*ticket.contract.head_names} <= tensors(model).keys()
