"""What an audit of a guard found in order."""

from __future__ import annotations

from dataclasses import dataclass

from oneticket.ticket.density import Density


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """The result of an audit: the held parameters, their weights, and their optimizer moments.

    `remaining` and `total` count weights under the mask's names, `whole` all of the model. If `sharded`, only weights
    on this rank are counted.
    """

    parameters: int
    remaining: int
    total: int
    whole: int
    moments: int
    sharded: bool = False

    @property
    def weight_counts(self) -> Density:
        """How many weights remain, may be pruned, and are in the whole model."""
        return Density(remaining=self.remaining, total=self.total, whole=self.whole)

    def __str__(self) -> str:
        dead, where = self.total - self.remaining, " on this rank" if self.sharded else ""
        among = f"{self.parameters} parameters and {self.moments} moments"
        return f"{dead:,} pruned weights{where} in {among} are exactly zero; {self.weight_counts}"
