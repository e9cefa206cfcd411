"""What to prune, as a spec."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from oneticket.ground.spec import Spec


class PruningSpec(Spec):
    """How a search prunes from one level to the next.

    Rounding: a group of `n` living weights loses exactly `floor(fraction * n)`, the fraction read as the decimal that
    was written; without `allow_empty`, at most what leaves each tensor one weight. Under scope `global` all prunable
    weights are one group; under `layerwise` each tensor is a group.

    >>> PruningSpec(fraction=0.5).plain()["criterion"]
    'magnitude'
    """

    kind: ClassVar[str] = "pruning"

    criterion: Literal["magnitude", "magnitude-at-init", "random"] = Field(
        "magnitude", description="Which weights go first: smallest after training, smallest at the start, or any."
    )
    fraction: float = Field(0.2, gt=0, lt=1, description="Share of the living weights that each level removes.")
    scope: Literal["global", "layerwise"] = Field(
        "global", description="One threshold over all layers, or the same fraction in every layer."
    )
    shots: Literal["iterative", "one-shot"] = Field(
        "iterative", description="Score anew after training each level, or take all masks from the dense network."
    )
    allow_empty: bool = Field(True, description="Whether a layer may lose its last weight.")
