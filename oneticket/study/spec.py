"""What the commands ask for, as specs: a whole `find`, a whole `transfer`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from oneticket.ground.spec import Spec
from oneticket.lottery.spec import MOST_LEVELS, Control, SearchSpec, TransferSpec


class FindSpec(Spec):
    """A search, how deep, and how often.

    >>> FindSpec(search={"data": "digits:a", "model": "lenet-300-100"}).levels
    20
    """

    kind: ClassVar[str] = "find"

    search: SearchSpec
    levels: int = Field(
        20, ge=0, le=MOST_LEVELS, description="How many times to prune: level n keeps (1 - fraction)^n of the weights."
    )
    replicates: int = Field(
        1, ge=1, le=10_000, description="How many times to search, each with random streams of its own."
    )


class CarrySpec(Spec):
    """A transfer, beside which controls, and at which levels.

    >>> CarrySpec(transfer={"data": "digits:b"}, controls=("reinit",)).levels
    ()
    """

    kind: ClassVar[str] = "carry"

    transfer: TransferSpec
    controls: tuple[Control, ...] = Field(
        ("reinit", "global-random"),
        description="Arms beside the dense network and the ticket, separated by commas; none for no others.",
    )
    levels: tuple[int, ...] = Field((), description="Levels of the source to carry, such as 5,10,20; all unless given.")
