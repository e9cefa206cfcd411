"""What the sources and targets of a part are: a set, several as one, or what several searches agree on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from oneticket.ground.spec import Spec, short


def some(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list."""
    if not given:
        raise ValueError("expected at least one, got none")
    return given


def _named(given: Any) -> Any:
    """Refuse a list of one in words of its own: a union would tell of every form that it is not."""
    names = given if isinstance(given, list | tuple) else () if isinstance(given, bool | int | float) else None
    if names is not None and not (len(names) > 1 and all(isinstance(name, str) for name in names)):
        raise ValueError(f"expected a name, or a list of two or more names for one ticket of all, got {short(given)}")
    return given


def _differ(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a search that would vote twice."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"expected datasets that differ, got {twice[0]} twice, and each search has one vote")
    return names


Subsets = Literal["fixed", "replicate"]
SUBSETS = (
    "Which per_class examples are used. fixed: the same ones in all replicates; replicate: new ones for each "
    "replicate, the same for sources and targets."
)

Several = Annotated[tuple[str, ...], Field(min_length=2)]
Sets = Annotated[tuple[Annotated[str | Several, BeforeValidator(_named)], ...], AfterValidator(some)]
"""Names of sets; a list of names within is one network for all of them, with a head for each."""


class ConsensusSpec(Spec):
    """A source that is made of others: the weights that most of several searches keep, as many as each of them keeps.

    >>> ConsensusSpec(consensus=["digits:a", "digits:b"]).weights
    'initial'
    """

    kind: ClassVar[str] = "source"

    consensus: Annotated[Several, AfterValidator(_differ)] = Field(
        description="Sets of the study, or datasets; each is searched by itself."
    )
    weights: Literal["initial", "mean"] = Field(
        "initial", description="What it starts from: the weights that all began from, or the mean of those rewound to."
    )
    every_level: bool = Field(
        False, description="Vote at every level, and let all searches go on from what they agreed on (COLT)."
    )


Sources = Annotated[tuple[Annotated[str | Several | ConsensusSpec, BeforeValidator(_named)], ...], AfterValidator(some)]
