"""Selection: exactly the lowest scores go, whatever the ties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from oneticket.ground.errors import PruneError
from oneticket.pruning.allocate import Share
from oneticket.ticket.mask import Mask


def select(mask: Mask, scores: Mapping[str, Tensor], shares: Iterable[Share], *, allow_empty: bool = True) -> Mask:
    """The mask that is left when every share's lowest-scored living weights are gone.

    Exact: each share loses exactly `prune` weights. Order: by score, ties by (tensor name, flat index), lowest first.
    Scores are float tensors of the masks' shapes on any device; dead weights' scores are not looked at. With
    `allow_empty=False` the best weight of every tensor stays, and the next lowest goes instead.

    Raises PruneError when a score of a living weight is NaN, a shape differs, or too few weights may go.

    >>> mask = Mask({"a": torch.ones(4, dtype=torch.bool)})
    >>> select(mask, {"a": torch.tensor([3.0, 1.0, 1.0, 1.0])}, [Share(names=("a",), prune=2)])["a"]
    tensor([ True, False, False,  True])
    """
    left = dict(mask)
    for share in shares:
        names = sorted(share.names)
        living = [mask[name].flatten() for name in names]
        values = [_living_scores(name, scores, mask) for name in names]
        if not allow_empty:
            values = [_protect_best(value) for value in values]
        may_go = sum(len(value) for value in values) - (0 if allow_empty else sum(len(value) > 0 for value in values))
        if share.prune > may_go:
            raise PruneError(f"{', '.join(names)}: {share.prune} weights are to go but only {may_go} may")
        gone = _lowest(torch.cat(values), share.prune)
        for name, alive, dead in zip(names, living, torch.split(gone, [len(v) for v in values]), strict=True):
            after = alive.clone()
            after[alive] = ~dead
            left[name] = after.view(mask[name].shape)
    return Mask(left)


def _living_scores(name: str, scores: Mapping[str, Tensor], mask: Mask) -> Tensor:
    """The scores of a tensor's living weights, 1-D float on the CPU, checked."""
    if name not in scores or scores[name].shape != mask[name].shape:
        came = tuple(scores[name].shape) if name in scores else "nothing"
        raise PruneError(f"{name}: expected scores of shape {tuple(mask[name].shape)}, got {came}")
    values = scores[name].detach().to("cpu", torch.float32)[mask[name]]
    if values.isnan().any():
        raise PruneError(f"{name}: {int(values.isnan().sum())} scores are NaN; did the training diverge?")
    return values


def _protect_best(values: Tensor) -> Tensor:
    """The same scores with the last of the highest made infinite, so that it goes last."""
    if not len(values):
        return values
    best = len(values) - 1 - int(values.flip(0).argmax())
    return values.index_fill(0, torch.tensor([best]), torch.inf)


def _lowest(values: Tensor, count: int) -> Tensor:
    """Which entries are the `count` lowest, ties by position: bool, exactly that many true."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    threshold = values.kthvalue(count).values
    gone = values < threshold
    ties = (values == threshold).nonzero().squeeze(1)
    gone[ties[: count - int(gone.sum())]] = True
    return gone
