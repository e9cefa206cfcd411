"""One round of a search, with any trainer: how a level is opened, and how it is closed.

    open:   level n is W_k x mask_n, written into the model
    close:  mask_{n+1} = prune(trained weights, mask_n), written into `pruned_at`

`pruned_at`: prunable weight -> the first level without it, 0 while it remains (uint8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from torch import Tensor, nn

from oneticket.ground.errors import WrongPruneError
from oneticket.ground.streams import Streams
from oneticket.lottery.snapshot import live
from oneticket.lottery.spec import MOST_LEVELS
from oneticket.pruning.criteria import Criterion
from oneticket.pruning.evidence import Evidence, Losses
from oneticket.pruning.prune import prune, shots, written
from oneticket.pruning.spec import PruningSpec
from oneticket.pruning.units import Units
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

Tensors = Mapping[str, Tensor]


def mask_at(pruned_at: Tensors, number: int) -> Mask:
    """Which weights remain at a level.

    >>> from torch import tensor, uint8
    >>> mask_at({"w": tensor([0, 1, 2], dtype=uint8)}, 1)["w"]
    tensor([ True, False,  True])
    """
    return Mask.full(pruned_at).where(lambda at: (at == 0).logical_or_(at > number), pruned_at)


def level_mask(rule: PruningSpec, pruned_at: Tensors, number: int, *, first: int = 0) -> Mask:
    """The mask of a level that is to be trained; `first` is the level that the search begins with.

    Raises PruneError if the level above pruned nothing, so that the training would be useless.
    """
    mask = mask_at(pruned_at, number)
    if number > first and not any((at == number).any() for at in pruned_at.values()):
        raise WrongPruneError(
            f"level {number} would prune nothing: {mask.remaining} weights remain, and {rule.fraction} of them, by "
            f"granularity {rule.granularity}, comes to none; ask for fewer levels or a larger fraction"
        )
    return mask


def open_level(model: nn.Module, mask: Mask, weights: Tensors, contract: Contract) -> None:
    """Write a level's first weights, W_k x mask, into the model. `contract`: gives the step k and the head."""
    ticket = Ticket(mask=mask, weights=weights, contract=contract)
    ticket.apply(model, head="sparse" if set(contract.head_names) & set(mask) else "keep")


def close_level(
    rule: PruningSpec,
    model: nn.Module,
    mask: Mask,
    pruned_at: Tensors,
    number: int,
    *,
    initial: Callable[[], Tensors],
    streams: Streams,
    losses: Losses | None = None,
    units: Units | None = None,
    criterion: Criterion | None = None,
) -> Tensors:
    """`pruned_at` with the next level written in, by what the trained model shows.

    One-shot writes all levels at level 0 and leaves them alone after. `initial`: gives W_0. `losses`, `criterion`: as
    `Evidence` and `prune` take them. Raises PruneError as `prune` does.
    """
    one_shot = rule.shots == "one-shot"
    if one_shot and number > 0:
        return pruned_at
    trained = live(model)
    evidence = Evidence(
        mask=mask,
        trained={name: trained[name].detach().cpu() for name in pruned_at},
        initial_of=initial,
        generator=streams.generator("prune", number),
        model=model,
        losses=losses,
    )
    masks: Iterable[Mask]
    if one_shot:
        masks = islice(shots(rule, evidence, units=units, criterion=criterion), MOST_LEVELS)
    else:  # whose scores are gone before the mask is written
        masks = [prune(rule, evidence, units=units, criterion=criterion)]
    return written(pruned_at, mask, masks, number + 1)
