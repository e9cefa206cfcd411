"""What to prune, as a spec."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from oneticket.ground.spec import Spec
from oneticket.ground.table import Table

CRITERIA = Table(
    kind="criterion",
    rows={
        "magnitude": "the smallest by magnitude after training",
        "magnitude-at-init": "the smallest by magnitude at the start",
        "random": "chosen at random",
        "saliency": "the smallest by weight times gradient after training",
    },
)
"""Which weights go first, by each criterion known by name."""

SCOPES = Table(
    kind="scope",
    rows={"global": "by one threshold over all layers", "layerwise": "as many in every layer"},
)
"""How the weights are chosen, by each scope known by name."""


class PruningSpec(Spec):
    """How a search prunes from one level to the next.

    Rounding: a group of `n` remaining weights loses exactly `floor(fraction * n)`. The fraction is read as the decimal
    that was written. Without `allow_empty`, each tensor keeps at least one weight. Under scope `global` all prunable
    weights are one group; under `layerwise` each tensor is a group. With a granularity other than `weight`, a group of
    `n` remaining units loses `floor(fraction * n)` of them, each with all its weights; `pruning/units` defines them.

    >>> PruningSpec(fraction=0.5).plain()["criterion"]
    'magnitude'
    """

    kind: ClassVar[str] = "pruning"

    criterion: Annotated[str, CRITERIA] = Field(
        "magnitude",
        description="How weights are ranked for pruning: magnitude after training, magnitude-at-init,"
        " saliency (weight times gradient), random, or your own as 'file.py:function'.",
    )
    fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the remaining weights (or units) that each level prunes."
    )
    scope: Annotated[str, SCOPES] = Field(
        "global",
        description="One threshold over all layers, or the same fraction in every layer; or groups of your own as"
        " 'file.py:function'.",
    )
    granularity: str = Field(
        "weight",
        description="What is pruned together: weight; channel (weights of one input channel), filter (weights of one"
        " output channel), block:RxC, such as block:16x4, head (of attention); or N:M, such as 2:4, so that of each M"
        " inputs' weights at least N remain. All but weight need scope layerwise.",
    )
    shots: Literal["iterative", "one-shot"] = Field(
        "iterative",
        description="iterative: rank again after each level's training; one-shot: rank once, after the dense training.",
    )
    allow_empty: bool = Field(True, description="Whether a layer may lose its last weight or unit.")

    @property
    def units(self) -> tuple[str, int, int]:
        """The granularity as a kind and two numbers: R and C of a `block`, N and M of `N:M`, zeros for all others.

        >>> PruningSpec(scope="layerwise", granularity="2:4").units
        ('N:M', 2, 4)
        """
        return _parse(self.granularity)

    @field_validator("granularity")
    @classmethod
    def _known(cls, granularity: str) -> str:
        _parse(granularity)
        return granularity

    @model_validator(mode="after")
    def _layerwise(self) -> Self:
        if self.granularity != "weight" and self.scope != "layerwise":
            raise ValueError(
                f'`granularity = "{self.granularity}"` needs `scope = "layerwise"`, got {self.scope}: units of '
                "different layers have different sizes, so how many weights remain would depend on which layer loses "
                "units"
            )
        return self


def _parse(granularity: str) -> tuple[str, int, int]:
    if granularity in KINDS:
        return granularity, 0, 0
    if sizes := re.fullmatch(r"block:([1-9]\d{0,5})x([1-9]\d{0,5})", granularity):
        return "block", int(sizes[1]), int(sizes[2])
    if (sizes := re.fullmatch(r"([1-9]\d{0,5}):([1-9]\d{0,5})", granularity)) and int(sizes[1]) < int(sizes[2]):
        return "N:M", int(sizes[1]), int(sizes[2])
    raise ValueError(
        f"expected {', '.join(KINDS)}, block:RxC (such as block:16x4) or N:M with N below M (such as 2:4), "
        f"got {granularity!r}"
    )


KINDS = ("weight", "channel", "filter", "head")
"""The granularities without sizes."""
