"""The networks of a comparison: the ticket, the dense network, and controls that each remove one property of it.

An arm is one function from a source, new weights and a random generator to the ticket to train. New weights are a
second draw from the init distribution, never the draw that the ticket itself began from. Your own is such a function by
its path: `--controls mine.py:control`.

| arm                   | mask                  | weights                                            |
|-----------------------|-----------------------|----------------------------------------------------|
| dense                 | full                  | the replicate's own initialisation                 |
| ticket                | the ticket's          | rewound                                            |
| own                   | the target's own      | rewound on the target                              |
| own-search            | the target's own      | rewound on the target, the output layer too        |
| reinit                | the ticket's          | new                                                |
| permuted-weights      | the ticket's          | the ticket's, permuted in each layer               |
| layerwise-random      | permuted in each layer| new                                                |
| layerwise-random-kept | permuted in each layer| rewound                                            |
| global-random         | as many, anywhere     | new (the paper's random ticket)                    |
| corrected-random      | as many, natural      | new                                                |
|                       | zeros last            |                                                    |
| signs                 | the ticket's          | new magnitudes under the ticket's signs            |
| trained-signs         | the ticket's          | new magnitudes under the signs of the trained ones |
| mask-only             | the ticket's          | rewound on the target                              |
| weights-only          | the target's own      | rewound                                            |
| dense-rewound         | full                  | rewound                                            |
| own-reinit            | the target's own      | new                                                |
| mask-init             | the ticket's          | the initialisation that its search began from      |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from oneticket.ground.brief import brief
from oneticket.ground.errors import WrongTransferError
from oneticket.ground.table import Table
from oneticket.lottery.arms import ARMS as NAMES
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of a comparison: a ticket and, as far as they are known, other results of its search.

    `rewind`: all rewind weights, the pruned ones too. `zeros`: which weights training the dense network made zero.
    `positive`: which of the ticket's weights the training of its level left above zero (`TrainedLevel.positive`).
    `initial`: the weights that the search began from, W_0. `own`: the source that a search on the target itself gives,
    from the same W_0.

    A control is a function of a source, of new weights by name, and of a generator for its draws; it returns a ticket:

    >>> from oneticket.ticket.contract import Contract
    >>> mask, rewound = Mask({"w": torch.tensor([True, False, True])}), {"w": torch.tensor([1.0, 0.0, -2.0])}
    >>> found = Source(ticket=Ticket(mask=mask, weights=rewound, contract=Contract(rewind="0it", step=0)))
    >>> new, draws = {"w": torch.tensor([0.5, 0.5, 0.5])}, torch.Generator().manual_seed(0)
    >>> reinit(found, new, draws).weights["w"], signs(found, new, draws).weights["w"]
    (tensor([0.5000, 0.0000, 0.5000]), tensor([ 0.5000,  0.0000, -0.5000]))
    >>> layerwise_random(found, new, draws).mask.remaining, dense(found, new, draws).mask.remaining
    (2, 3)
    """

    ticket: Ticket
    rewind: Tensors | None = None
    zeros: Mask | None = None
    positive: Mask | None = None
    initial: Tensors | None = None
    own: Source | None = None

    __repr__ = brief


Control = Callable[[Source, Tensors, torch.Generator], Ticket]


def ticket(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The ticket itself (of the source, or the target's own)."""
    return source.ticket


def dense(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """All weights, newly initialised; `new` is here the replicate's own initialisation."""
    return _with(source.ticket, mask=Mask.full(source.ticket.mask), weights=new)


def reinit(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """Same mask, new weights: does the initialisation matter? (Frankle and Carbin, 2019)"""
    return _with(source.ticket, mask=source.ticket.mask, weights=new)


def permuted_weights(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """Same mask, the remaining rewound weights permuted within each layer: does each weight's place matter?"""
    given = source.ticket
    weights = dict(given.weights)
    for name, remaining in given.mask.items():
        values = given.weights[name].clone()
        left = values[remaining]
        values[remaining] = left[torch.randperm(len(left), generator=generator, device="cpu")]
        weights[name] = values
    return _with(given, mask=given.mask, weights=weights)


def layerwise_random(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The mask permuted within each layer, new weights: do layer densities suffice? (Su et al., 2020)"""
    return _with(source.ticket, mask=_layerwise(source.ticket.mask, generator), weights=new)


def layerwise_random_kept(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The mask permuted within each layer over the rewind weights: does it matter which of them remain?

    Raises TransferError if the source is a ticket file, which does not hold the weights that its mask prunes.
    """
    weights = _rewound(source, "layerwise-random-kept")
    return _with(source.ticket, mask=_layerwise(source.ticket.mask, generator), weights=weights)


def global_random(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The mask permuted over all layers at once, new weights: the paper's random ticket (Morcos et al., 2019).

    It keeps only the ticket's density, so all tickets of one network and density share it.
    """
    mask = source.ticket.mask
    return _with(
        source.ticket, mask=_first(mask, torch.randperm(mask.total, generator=generator, device="cpu")), weights=new
    )


def corrected_random(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """As global random, but natural zeros are taken last: is a ticket better than what training prunes by itself?

    Without natural zeros it is the global random ticket. Raises TransferError if they are unknown. Caron et al., 2020.
    """
    mask = source.ticket.mask
    if source.zeros is None:
        raise WrongTransferError(
            "corrected-random needs to know which weights the source's dense network brought to zero"
        )
    order = torch.randperm(mask.total, generator=generator, device="cpu")
    zero = torch.cat([source.zeros[name].flatten() for name in mask])[order]
    return _with(source.ticket, mask=_first(mask, torch.cat([order[~zero], order[zero]])), weights=new)


def signs(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """Same mask, new magnitudes under the ticket's signs: are the signs enough? (Zhou et al., 2019)"""
    given, weights = source.ticket, dict(new)
    for name in given.mask:
        weights[name] = torch.copysign(new[name], given.weights[name])
    return _with(given, mask=given.mask, weights=weights)


def trained_signs(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """Same mask, new magnitudes under the signs that the source's training ended with: do these make a ticket?

    A weight that training left at exactly zero has the sign that it began with. Raises TransferError if the
    trained signs are unknown, as for a file. Oh et al., 2025.
    """
    if source.positive is None:
        raise WrongTransferError(
            "trained-signs needs the signs of the level's trained weights, which files do not keep; give "
            "Source(positive=TrainedLevel.positive), or plan the search and the transfer in one study"
        )
    mask, weights = source.ticket.mask, dict(new)
    for name in mask:
        weights[name] = torch.where(source.positive[name], new[name].abs(), -new[name].abs())
    return _with(source.ticket, mask=mask, weights=weights)


def mask_only(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The ticket's mask over the weights rewound on the target: is it the mask that transfers?

    Raises TransferError if the target's own search is not known.
    """
    own = _own(source, "mask-only")
    return _with(own.ticket, mask=source.ticket.mask, weights=_rewound(own, "mask-only"))


def weights_only(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The target's own mask over the source's rewind weights: is it the weights that transfer?

    Raises TransferError if the target's own search is not known, or the source is a ticket file, which does not
    hold the weights that its mask prunes.
    """
    mask = _own(source, "weights-only").ticket.mask
    return _with(source.ticket, mask=mask, weights=_rewound(source, "weights-only"))


def dense_rewound(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """All rewind weights, unmasked: what do the steps before the rewind point bring by themselves?

    Raises TransferError if the source is a ticket file, which does not hold the weights that its mask prunes.
    """
    return _with(source.ticket, mask=Mask.full(source.ticket.mask), weights=_rewound(source, "dense-rewound"))


def mask_init(source: Source, new: Tensors, generator: torch.Generator) -> Ticket:
    """The ticket's mask over the search's initial weights: do the steps before the rewind point matter to a mask?

    Raises TransferError if those weights are not known.
    """
    if source.initial is None:
        raise WrongTransferError(
            "mask-init needs the weights that the source's search began from; give a book that names its search"
        )
    return _with(source.ticket, mask=source.ticket.mask, weights=source.initial)


def _rewound(source: Source, arm: str) -> Tensors:
    if source.rewind is None:
        raise WrongTransferError(f"{arm} needs all rewind weights, which a ticket file does not hold; give its book")
    return source.rewind


def _own(source: Source, arm: str) -> Source:
    if source.own is None:
        raise WrongTransferError(f"{arm} needs the target's own search; give Source(own=...)")
    return source.own


def _first(mask: Mask, order: Tensor) -> Mask:
    """As many remaining weights as in `mask`: the first ones in an order over all layers' weights."""
    flat = torch.zeros(mask.total, dtype=torch.bool, device="cpu")
    flat[order[: mask.remaining]] = True
    parts = torch.split(flat, [remaining.numel() for remaining in mask.values()])
    return Mask({name: part.view(mask[name].shape) for name, part in zip(mask, parts, strict=True)})


def _layerwise(mask: Mask, generator: torch.Generator) -> Mask:
    shuffled = {}
    for name, remaining in mask.items():
        shuffled[name] = remaining.flatten()[torch.randperm(remaining.numel(), generator=generator, device="cpu")].view(
            remaining.shape
        )
    return Mask(shuffled)


def _with(given: Ticket, *, mask: Mask, weights: Tensors) -> Ticket:
    return Ticket(mask=mask, weights=weights, contract=given.contract, model=given.model)


ARMS: Table[Control] = NAMES.filled(
    {
        "dense": dense,
        "ticket": ticket,
        "own": ticket,
        "own-search": ticket,
        "reinit": reinit,
        "permuted-weights": permuted_weights,
        "layerwise-random": layerwise_random,
        "global-random": global_random,
        "corrected-random": corrected_random,
        "layerwise-random-kept": layerwise_random_kept,
        "signs": signs,
        "trained-signs": trained_signs,
        "mask-only": mask_only,
        "weights-only": weights_only,
        "dense-rewound": dense_rewound,
        "own-reinit": reinit,
        "mask-init": mask_init,
    }
)
