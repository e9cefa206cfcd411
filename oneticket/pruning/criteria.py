"""Criteria: a score for every weight; the lowest are pruned first.

A criterion looks at the evidence of a trained level and scores every entry of each prunable tensor, pruned ones too;
selection looks at the remaining ones only. Your own is a function from `Evidence` to scores, by name, of the weights'
shapes: `--criterion mine.py:score`, or the function itself for `Search`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from oneticket.ground.errors import PruneError, SpecError, WrongPruneError
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.scores import Scores
from oneticket.pruning.spec import CRITERIA as NAMES

Tensors = Mapping[str, Tensor]
Criterion = Callable[[Evidence], Tensors]


def magnitude(evidence: Evidence) -> Tensors:
    """|w| after training, as in Han et al. (2015) and the paper."""
    return Scores(torch.abs, evidence.trained)


def magnitude_at_init(evidence: Evidence) -> Tensors:
    """|w| before training: magnitude without any data (Frankle et al., 2021)."""
    return Scores(torch.abs, evidence.initial)


def random(evidence: Evidence) -> Tensors:
    """A uniform draw for every weight: the baseline for every criterion."""
    return {
        name: torch.rand(evidence.trained[name].shape, generator=evidence.generator, dtype=torch.float32, device="cpu")
        for name in sorted(evidence.trained)
    }


def saliency(evidence: Evidence) -> Tensors:
    """|w x dL/dw| after training, over 8 training batches: the change of the loss without the weight, to first order.

    Mozer and Smolensky (1989); at initialisation it is SNIP (Lee et al., 2019).
    """
    return Scores(lambda weight, gradient: (weight * gradient).abs(), evidence.trained, evidence.gradients())


def score(criterion: str | Criterion, evidence: Evidence) -> Tensors:
    """Scores by a criterion, named or given: tensors of the weights' shapes, on the CPU.

    They may be `Scores`, which are computed where they are read: read them before the weights change.

    Raises PruneError for an unknown name, and for one of your own that fails or does not score every prunable weight.

    >>> from oneticket.ticket.mask import Mask
    >>> w = {"a": torch.tensor([-2.0, 1.0])}
    >>> known = {"mask": Mask.full(w), "trained": w, "initial_of": dict, "generator": torch.Generator()}
    >>> score("magnitude", Evidence(**known))["a"]
    tensor([2., 1.])
    """
    function = criterion if callable(criterion) else _found(criterion)
    called = named(criterion)
    with CRITERIA.blamed(called, PruneError):
        scores = function(evidence)
    if not isinstance(scores, Mapping):
        raise WrongPruneError(f"criterion {called!r}: expected scores by name, got {type(scores).__name__}")
    if isinstance(scores, Scores) and not set(evidence.mask) - set(scores):
        return scores
    if lacking := [name for name in evidence.mask if not isinstance(scores.get(name), Tensor)]:
        raise WrongPruneError(f"criterion {called!r}: expected a tensor of scores for {', '.join(lacking)}, got none")
    if unreal := [name for name in evidence.mask if scores[name].is_complex()]:
        raise WrongPruneError(
            f"criterion {called!r}: expected real scores for {', '.join(unreal)}, got complex numbers"
        )
    return {name: scores[name].detach().cpu() for name in evidence.mask}


def named(criterion: str | Criterion) -> str:
    """A criterion's name; for a function, its import path."""
    if isinstance(criterion, str):
        return criterion
    return f"{criterion.__module__}:{getattr(criterion, '__qualname__', type(criterion).__name__)}"


def _found(name: str) -> Criterion:
    try:
        return CRITERIA.resolve(name)
    except SpecError as error:
        raise WrongPruneError(str(error)) from error


CRITERIA = NAMES.filled(
    {
        "magnitude": magnitude,
        "magnitude-at-init": magnitude_at_init,
        "random": random,
        "saliency": saliency,
    }
)
